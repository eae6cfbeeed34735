package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"text/tabwriter"
	"time"

	"github.com/offsite-kafka/offsite/internal/cli"
	"github.com/offsite-kafka/offsite/internal/crypt"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/spf13/cobra"
)

func keyCommand(g *cli.Globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "key",
		Short: "Make keys, and say who can read an encrypted repository",
	}
	cli.HelpOnly(cmd)
	cmd.AddCommand(generateKeyCommand(g), listKeysCommand(g), addKeyCommand(g), retireKeyCommand(g))
	return cmd
}

func generateKeyCommand(g *cli.Globals) *cobra.Command {
	var file string
	var signing bool
	cmd := &cobra.Command{
		Use:   "generate",
		Short: "Make an identity, as age-keygen does, or a key to sign the log with, and print what is public of it",
		Example: "  backupd key generate --file restore-identity.txt\n" +
			"  backupd key generate --signing --file signing.pem",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return cli.Usagef("where to? --file names a file that is not there yet")
			}
			kind, public, text, err := newIdentity()
			if signing {
				kind, public, text, err = newSigningKey()
			}
			if err != nil {
				return err
			}
			if err := writeSecret(file, text); err != nil {
				return err
			}
			if g.Output == "json" {
				return cli.WriteJSON(cli.Out(cmd), map[string]any{"schemaVersion": 1, "file": file, kind: public})
			}
			_, err = fmt.Fprintln(cli.Out(cmd), public)
			return err
		},
	}
	cmd.Flags().StringVar(&file, "file", "", "put the secret into `FILE`, which must not exist, readable by its owner alone")
	cmd.Flags().BoolVar(&signing, "signing", false, "a key for signing.keyFile, not an identity")
	g.OutputFlag(cmd)
	return cmd
}

func newIdentity() (kind, public string, text []byte, err error) {
	id, err := crypt.GenerateIdentity()
	if err != nil {
		return "", "", nil, err
	}
	public = id.Recipients()[0].String()
	return "recipient", public, fmt.Appendf(nil, "# created: %s\n# public key: %s\n%s\n", time.Now().Format(time.RFC3339), public, id.Secret()), nil
}

func newSigningKey() (kind, public string, text []byte, err error) {
	key, err := crypt.GenerateSigningKey()
	if err != nil {
		return "", "", nil, err
	}
	text, err = key.Secret()
	return "publicKey", key.Public().String(), text, err
}

// writeSecret makes a file that only its owner may read.
func writeSecret(file string, text []byte) error {
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return cli.Usagef("--file %s: it is there already, and no key is overwritten: name another one", file)
	case errors.Is(err, fs.ErrNotExist):
		return cli.Usagef("--file %s: there is no such directory", file)
	case err != nil:
		return fmt.Errorf("write a secret: %w", err)
	}
	defer f.Close()
	if _, err = f.Write(text); err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("write a secret: %w", err)
	}
	return nil
}

// keyList is the JSON of backupd key list.
type keyList struct {
	SchemaVersion int              `json:"schemaVersion"`
	Entry         uint64           `json:"entry"` // of the log, that stated them last
	Generations   []generationJSON `json:"generations"`
}

type generationJSON struct {
	Generation int          `json:"generation"`
	Current    bool         `json:"current"`
	Readers    []holderJSON `json:"readers"`
	Writers    []holderJSON `json:"writers"`
}

type holderJSON struct {
	Recipient string `json:"recipient"`
	Comment   string `json:"comment,omitempty"`
}

func listKeysCommand(g *cli.Globals) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List who can read what of an encrypted repository",
		Example: "  backupd key list -c backupd.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			repo, err := encrypted(cmd.Context(), g)
			if err != nil {
				return err
			}
			state, err := repo.Read(cmd.Context(), 0, nil)
			if err != nil {
				return err
			}
			list := keyList{SchemaVersion: 1, Entry: state.KeysEntry, Generations: []generationJSON{}}
			for n, k := range state.Generations {
				list.Generations = append(list.Generations, generationJSON{n, n == len(state.Generations)-1, holdersJSON(k.Readers), holdersJSON(k.Writers)})
			}
			if g.Output == "json" {
				return cli.WriteJSON(cli.Out(cmd), list)
			}
			return list.print(cli.Out(cmd))
		},
	}
	g.OutputFlag(cmd)
	return cmd
}

func holdersJSON(list []manifest.KeyHolder) []holderJSON {
	all := []holderJSON{}
	for _, h := range list {
		all = append(all, holderJSON{h.Recipient, h.Comment})
	}
	return all
}

func (l *keyList) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 4, 2, ' ', 0)
	fmt.Fprintln(w, "GENERATION\tROLE\tRECIPIENT\tCOMMENT")
	for _, k := range l.Generations {
		for _, h := range k.Readers {
			fmt.Fprintf(w, "%d\treader\t%s\t%s\n", k.Generation, h.Recipient, printable(h.Comment))
		}
		for _, h := range k.Writers {
			fmt.Fprintf(w, "%d\twriter\t%s\t%s\n", k.Generation, h.Recipient, printable(h.Comment))
		}
	}
	return w.Flush()
}

// printable is a comment in a table: somebody else may have made it.
func printable(comment string) string {
	if comment == "" {
		return ""
	}
	return manifest.Quoted(comment)
}

// encrypted opens the repository, which must be encrypted.
func encrypted(ctx context.Context, g *cli.Globals) (*manifest.Repository, error) {
	repo, err := g.Repository(ctx)
	if err == nil && !repo.Encrypted {
		err = manifest.ErrNotEncrypted
	}
	return repo, err
}

// changeKeys opens the log of an encrypted repository to change its keys.
func changeKeys(ctx context.Context, g *cli.Globals, change func(*manifest.Log) error) error {
	repo, err := encrypted(ctx, g)
	if err != nil {
		return err
	}
	log, err := repo.OpenLog(ctx, time.Now)
	if err != nil {
		return err
	}
	return change(log)
}

func addKeyCommand(g *cli.Globals) *cobra.Command {
	var comment string
	var writer bool
	cmd := &cobra.Command{
		Use:   "add RECIPIENT",
		Short: "Let one more recipient of age read the repository, what was written before included",
		Example: "  backupd key add -c backupd.yaml -X encryption.identityFile=restore-identity.txt age1…\n" +
			"  backupd key add -c backupd.yaml --writer --comment 'second data centre' age1…",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			holder, err := newHolder(args[0], comment)
			if err != nil {
				return err
			}
			return changeKeys(cmd.Context(), g, func(log *manifest.Log) error {
				opened, all, err := log.AddKey(cmd.Context(), g.Agent("backupd", "key add"), holder, writer)
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return cli.WriteJSON(cli.Out(cmd), map[string]any{"schemaVersion": 1, "recipient": holder.Recipient, "writer": writer, "generations": opened, "of": all})
				}
				_, err = fmt.Fprintf(cli.Out(cmd), "added; it opens %d of %d generations of the keys\n", opened, all)
				return err
			})
		},
	}
	cmd.Flags().StringVar(&comment, "comment", "", "`TEXT` to keep beside the recipient; it is not encrypted")
	cmd.Flags().BoolVar(&writer, "writer", false, "let it read and write the log, as a backupd needs it, but no record")
	g.OutputFlag(cmd)
	return cmd
}

// newHolder checks what somebody calls a recipient, without showing it: it may be an
// identity.
func newHolder(recipient, comment string) (manifest.KeyHolder, error) {
	if _, err := crypt.ParseRecipient(recipient); err != nil {
		return manifest.KeyHolder{}, cli.Usagef("%v", err)
	}
	h := manifest.KeyHolder{Recipient: recipient, Comment: comment}
	if len(comment) > manifest.MaxComment {
		return h, cli.Usagef("--comment has %d bytes, %d are the most", len(comment), manifest.MaxComment)
	}
	return h, nil
}

func retireKeyCommand(g *cli.Globals) *cobra.Command {
	var force bool
	cmd := &cobra.Command{
		Use:     "retire RECIPIENT",
		Short:   "Make new keys without a recipient: what is written from now on, it cannot read",
		Example: "  backupd key retire -c backupd.yaml age1…",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			holder, err := newHolder(args[0], "")
			if err != nil {
				return err
			}
			return changeKeys(cmd.Context(), g, func(log *manifest.Log) error {
				generation, err := log.RetireKey(cmd.Context(), g.Agent("backupd", "key retire"), holder.Recipient, force)
				if err != nil {
					return err
				}
				if g.Output == "json" {
					return cli.WriteJSON(cli.Out(cmd), map[string]any{"schemaVersion": 1, "recipient": holder.Recipient, "generation": generation})
				}
				_, err = fmt.Fprintf(cli.Out(cmd), "retired; generation %d of the keys is without it. What was written before, it can still read\n", generation)
				return err
			})
		},
	}
	cmd.Flags().BoolVar(&force, "force", false, "even the only writer, or the identity that this command uses")
	g.OutputFlag(cmd)
	return cmd
}
