package azblob

import (
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// answerOf returns what the server answered, or nil.
func answerOf(err error) *azcore.ResponseError {
	var answer *azcore.ResponseError
	if errors.As(err, &answer) {
		return answer
	}
	return nil
}

// has tells whether the server answered with one of the codes.
func has(err error, codes ...bloberror.Code) bool { return bloberror.HasCode(err, codes...) }

// classOf returns the error of package store that says what err of the server
// says, or nil.
func classOf(err error) error {
	answer := answerOf(err)
	switch {
	case errors.Is(err, store.ErrAuth): // of credentials
		return store.ErrAuth
	case answer == nil:
	case has(err, bloberror.ContainerNotFound, bloberror.ContainerDisabled):
		return store.ErrInvalid
	case has(err, bloberror.BlobNotFound):
		return store.ErrNotExist
	case answer.StatusCode == http.StatusRequestedRangeNotSatisfiable:
		return store.ErrRange
	case answer.StatusCode == http.StatusInsufficientStorage:
		return store.ErrFull
	case answer.StatusCode == http.StatusUnauthorized || answer.StatusCode == http.StatusForbidden:
		return store.ErrAuth
	}
	return nil
}

// classify wraps an error of the SDK in what package store promises.
func (s *Store) classify(ctx context.Context, err error) error {
	return s.transport.Classify(ctx, s.explain(err), classOf(err))
}

// classifyPut is classify for what may have made a blob visible. The service says
// in two ways that there is one already.
func (s *Store) classifyPut(ctx context.Context, err error, w *remote.Watch, ifAbsent bool) error {
	class := classOf(err)
	if ifAbsent && has(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet) {
		class = store.ErrExists
	}
	return s.transport.ClassifyPut(ctx, s.explain(err), class, w)
}

// explain says what the server said in one line, and never the URL of a request,
// which may have a signature in it.
func (s *Store) explain(err error) error {
	var request *url.Error
	if answer := answerOf(err); answer != nil {
		err = fmt.Errorf("status %d: %s%s", answer.StatusCode, answer.ErrorCode, messageOf(answer.RawResponse))
		if answer.ErrorCode == string(bloberror.ContainerNotFound) {
			err = fmt.Errorf("container %s does not exist in the account %s: create it, or check its name (%w)", s.container, s.account, err)
		}
		return err
	}
	if errors.As(err, &request) {
		plain := *request
		if u, parseErr := url.Parse(plain.URL); parseErr == nil {
			plain.URL = u.Scheme + "://" + u.Host
		} else {
			plain.URL = ""
		}
		return &plain
	}
	return err
}

// maxMessage bounds what is read of an answer to say it.
const maxMessage = 64 << 10

// messageOf returns the first line of what the server says in words, if any, to
// be said after its code.
func messageOf(resp *http.Response) string {
	if resp == nil || resp.Body == nil {
		return ""
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxMessage))
	if err != nil || len(body) == 0 {
		return ""
	}
	var said struct{ Message string }
	if xml.Unmarshal(body, &said) != nil || said.Message == "" {
		return fmt.Sprintf(": %.200q", body)
	}
	line, _, _ := strings.Cut(said.Message, "\n")
	return ": " + line
}
