package s3

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/aws/aws-sdk-go-v2/aws/retry"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// answered is an error of the SDK as people want to read it: what the server said.
// The rest, such as the ids of requests, is for who looks into the matter with the
// people of the server.
type answered struct {
	text string
	err  error
}

func (a *answered) Error() string { return a.text }
func (a *answered) Unwrap() error { return a.err }

// Detail implements store.Detailed.
func (a *answered) Detail() string { return a.err.Error() }

// explain shortens what the SDK says.
func explain(err error) error {
	var done *answered
	if err == nil || errors.As(err, &done) {
		return err
	}
	return &answered{said(err), err}
}

// said is the code and the text that the server has given, or what there is in their
// place.
func said(err error) string {
	var api smithy.APIError
	status := statusOf(err)
	switch {
	case errors.As(err, &api) && api.ErrorMessage() != "":
		return fmt.Sprintf("status %d: %s: %s", status, api.ErrorCode(), api.ErrorMessage())
	case errors.As(err, &api):
		return fmt.Sprintf("status %d: %s", status, api.ErrorCode())
	case status != 0:
		return fmt.Sprintf("status %d: %s", status, http.StatusText(status))
	}
	err = inner(err)
	var request *url.Error
	if !errors.As(err, &request) {
		return err.Error()
	}
	if u, parseErr := url.Parse(request.URL); parseErr == nil {
		return fmt.Sprintf("%s://%s: %v", u.Scheme, u.Host, request.Err)
	}
	return request.Err.Error()
}

// inner returns what the SDK has wrapped.
func inner(err error) error {
	for {
		switch e := err.(type) { //nolint:errorlint // each layer is taken off
		case *retry.MaxAttemptsError:
			err = e.Err
		case *smithy.OperationError:
			err = e.Err
		case *awshttp.ResponseError:
			err = e.ResponseError
		case *smithyhttp.ResponseError:
			err = e.Err
		case *smithyhttp.RequestSendError:
			err = e.Err
		default:
			return err
		}
		if err == nil {
			return errors.New("no answer")
		}
	}
}
