package gcs

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"google.golang.org/api/googleapi"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// rateReasons come with status 403 and are nothing that rights would change.
var rateReasons = map[string]bool{"rateLimitExceeded": true, "userRateLimitExceeded": true, "quotaExceeded": true}

// answerOf returns what the server answered, or nil.
func answerOf(err error) *googleapi.Error {
	var answer *googleapi.Error
	if !errors.As(err, &answer) {
		return nil
	}
	if !isOfAPI(answer) { // the SDK does not look into what comes in place of an object
		resp := &http.Response{StatusCode: answer.Code, Header: answer.Header}
		errors.As(googleapi.CheckResponseWithBody(resp, []byte(answer.Body)), &answer)
	}
	return answer
}

// isOfAPI tells whether an answer has the form of the API's. Other web servers
// have statuses, too.
func isOfAPI(answer *googleapi.Error) bool { return answer.Message != "" || len(answer.Errors) > 0 }

// classOf returns the error of package store that says what err of the server
// says, or nil. Statuses that mean different things in different operations, 404
// and 412, do not count.
func classOf(err error) error {
	if errors.Is(err, store.ErrAuth) { // of credentials
		return store.ErrAuth
	}
	answer := answerOf(err)
	if answer == nil {
		return nil
	}
	switch answer.Code {
	case http.StatusRequestedRangeNotSatisfiable:
		return store.ErrRange
	case http.StatusInsufficientStorage:
		return store.ErrFull
	case http.StatusUnauthorized:
		return store.ErrAuth
	case http.StatusForbidden:
		for _, item := range answer.Errors {
			if rateReasons[item.Reason] {
				return nil
			}
		}
		return store.ErrAuth
	}
	return nil
}

// classify wraps an error of the SDK in what package store promises.
func (s *Store) classify(ctx context.Context, err error) error {
	return s.transport.Classify(ctx, s.explain(err), classOf(err))
}

// classifyPut is classify for what may have made an object visible.
func (s *Store) classifyPut(ctx context.Context, err error, w *remote.Watch, ifAbsent bool) error {
	class := classOf(err)
	switch {
	case err == nil || ctx.Err() != nil:
	case ifAbsent && statusOf(err) == http.StatusPreconditionFailed:
		class = store.ErrExists
	case statusOf(err) == http.StatusNotFound && s.lacksBucket(ctx, err):
		class, err = store.ErrInvalid, s.noBucket(err)
	}
	return s.transport.ClassifyPut(ctx, s.explain(err), class, w)
}

// classifyMissing is classify for what concerns one object. GCS answers 404 for
// a missing bucket too, which is an error of the operator.
func (s *Store) classifyMissing(ctx context.Context, err error) error {
	if statusOf(err) != http.StatusNotFound || ctx.Err() != nil {
		return s.classify(ctx, err)
	}
	if s.lacksBucket(ctx, err) {
		return s.noBucket(err)
	}
	return s.transport.Classify(ctx, s.explain(err), store.ErrNotExist)
}

// lacksBucket tells whether it is the bucket that the server has not found. It
// asks for a listing where the server's words do not say that it was an object.
func (s *Store) lacksBucket(ctx context.Context, err error) bool {
	if answer := answerOf(err); strings.Contains(answer.Message+answer.Body, "No such object") {
		return false
	}
	objects, listErr := s.objects(ctx, "", 1)
	if listErr == nil {
		_, listErr = objects.Next()
	}
	return isNoBucket(listErr)
}

// isNoBucket tells whether the error of a listing is that there is no bucket.
func isNoBucket(err error) bool {
	answer := answerOf(err)
	return answer != nil && answer.Code == http.StatusNotFound && isOfAPI(answer)
}

func (s *Store) noBucket(err error) error {
	return fmt.Errorf("%w: bucket %s does not exist: create it, or check its name (%v)", store.ErrInvalid, s.bucket, s.explain(err))
}

func statusOf(err error) int {
	if answer := answerOf(err); answer != nil {
		return answer.Code
	}
	return 0
}

// explain shortens what the SDK says: pages of other web servers, and requests
// that were never made for want of credentials, or answered in no known way.
func (s *Store) explain(err error) error {
	var (
		request *url.Error
		strange misbehaviour
	)
	if errors.As(err, &strange) {
		return strange
	}
	if errors.Is(err, errNoCredentials) && errors.As(err, &request) {
		return request.Err
	}
	switch answer := answerOf(err); {
	case answer == nil:
		return err
	case isOfAPI(answer):
		return answer
	default:
		return fmt.Errorf("status %d: %.200q", answer.Code, answer.Body)
	}
}
