package cli

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/offsite-kafka/offsite/internal/config"
	"github.com/offsite-kafka/offsite/internal/manifest"
	"github.com/offsite-kafka/offsite/internal/replica"
	"github.com/offsite-kafka/offsite/internal/source"
	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/storecheck"
)

// hint says what to do about errors that the packages below cannot know a
// remedy for, or is empty. repo is the URL of the repository, if there is one.
func hint(err error, repo string) string {
	scheme, _, _ := strings.Cut(repo, ":")
	var damage *manifest.Damage
	if errors.As(err, &damage) && damage.Key == manifest.RepositoryKey {
		return "; the repository is damaged, and nothing of it can be read without this: \"backupd repair --from COPY\" puts it back from a copy"
	}
	for _, h := range []struct {
		err  error
		text string
	}{
		{store.ErrCredentials, "check the credentials themselves" + identities[scheme] + ", and whether they have expired"},
		{store.ErrAuth, access(err, scheme)},
		{store.ErrFull, "make room; what was committed before is safe, and the next run goes on from there"},
		{store.ErrUnreachable, "check that a server listens there and that its address" + addresses[scheme] + " is right"},
		{store.ErrUnusable, "check the disk, and start this again: what was committed before is safe"},
		{storecheck.ErrNoFence, "a second backupd on this repository would destroy it: " + storecheck.FenceFix},
		{manifest.ErrOtherCluster, "give each cluster a repository of its own"},
		{manifest.ErrArchive, "capture into the repository that it was made from, or into a new one"},
		{manifest.ErrReplica, "write to the repository that it is a copy of or, if that is gone for good, make this one a repository of its own: backupd promote"},
		{manifest.ErrVersion, "use the version of this program that wrote it, or a later one"},
		{manifest.ErrRetired, "use the identity of another recipient (encryption.identityFile, or " + config.IdentityVariable + "); \"restored --log-until SEQ\" still reads with this one what was written before"},
		{manifest.ErrLocked, "encryption.identityFile in the configuration, or the environment variable " + config.IdentityVariable + ", has the identity"},
		{manifest.ErrNotEncrypted, "it was made without encryption, and stays so: an encrypted one is a new repository, in another place, with encryption.recipients in the configuration"},
		{manifest.ErrUntrusted, "most likely signing.head or signing.publicKey is out of date, or a backupd without signing.keyFile has written to the repository; if neither is so, somebody has tampered with it"},
		{replica.ErrSpoilt, "the same command without --dry-run sends them again"},
		{manifest.ErrDamaged, "\"restored verify\" says what is damaged and what that costs, \"backupd repair [--from COPY]\" mends it with what a copy or the cluster still has"},
		{source.ErrLost, "a copy that still has it gives it back: \"backupd repair --from COPY\""},
		{context.Canceled, "interrupted: the same command goes on from where this one was"},
	} {
		if errors.Is(err, h.err) {
			return "; " + h.text
		}
	}
	return ""
}

// addresses are where those of servers come from, by the scheme of the URL.
var addresses = map[string]string{
	"s3": " (store.s3.endpoint, AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL)",
	"gs": " (STORAGE_EMULATOR_HOST, or CLOUDSDK_API_ENDPOINT_OVERRIDES_STORAGE)",
	"az": " (AZURE_STORAGE_SERVICE_ENDPOINT, or what the URL says)",
}

// identities are where those who use the servers come from.
var identities = map[string]string{
	"s3": " (AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile)",
	"gs": " (GOOGLE_APPLICATION_CREDENTIALS, or the identity of the machine or pod)",
	"az": " (AZURE_STORAGE_KEY, AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_CONNECTION_STRING, or the identity of the machine or pod)",
}

// access is the hint about rights to a store, which is a directory if the system
// named a file.
func access(err error, scheme string) string {
	var path *fs.PathError
	var link *os.LinkError
	if errors.As(err, &path) || errors.As(err, &link) {
		return "check the owner and the permissions of the directory, and that it is neither mounted read-only nor immutable"
	}
	return "check the credentials for the bucket" + identities[scheme] + " and what they allow"
}
