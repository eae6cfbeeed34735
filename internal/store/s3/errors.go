package s3

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"github.com/aws/smithy-go"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/offsite-kafka/offsite/internal/store"
	"github.com/offsite-kafka/offsite/internal/store/remote"
)

// authCodes are errors of identity or rights that come with other statuses than
// 401 and 403.
var authCodes = map[string]bool{
	"AccessDenied": true, "ExpiredToken": true, "InvalidToken": true, "TokenRefreshRequired": true,
	"InvalidAccessKeyId": true, "SignatureDoesNotMatch": true,
	"XAdminUserNotFound": true, // versitygw, with status 404
}

// identityCodes are those of them that say who asks is not known, or has not proven
// it: more rights would not help.
var identityCodes = map[string]bool{
	"ExpiredToken": true, "InvalidToken": true, "TokenRefreshRequired": true, "InvalidAccessKeyId": true, "SignatureDoesNotMatch": true, "XAdminUserNotFound": true,
}

func isOfIdentity(err error) bool {
	return identityCodes[codeOf(err)] || statusOf(err) == http.StatusUnauthorized
}

var fullCodes = map[string]bool{
	"QuotaExceeded": true, "InsufficientStorage": true,
	"XMinioStorageFull": true, "XMinioAdminBucketQuotaExceeded": true,
}

// classOf returns the error of package store that says what err of the server
// says, or nil. Statuses that mean different things in different operations,
// such as 404 and 412, count only with their code.
func classOf(err error) error {
	code, status := codeOf(err), statusOf(err)
	switch {
	case errors.Is(err, store.ErrAuth): // of credentials
		return store.ErrAuth
	case code == "NoSuchKey":
		return store.ErrNotExist
	case code == "InvalidRange" || status == http.StatusRequestedRangeNotSatisfiable:
		return store.ErrRange
	case fullCodes[code] || status == http.StatusInsufficientStorage:
		return store.ErrFull
	case authCodes[code] || status == http.StatusUnauthorized || status == http.StatusForbidden:
		return store.ErrAuth
	}
	return nil
}

// isRefusal tells whether the server, or we, certainly did not do what was asked.
func isRefusal(err error) bool {
	return classOf(err) != nil || isRefusalOfTerms(err) || remote.IsUnsent(err)
}

func codeOf(err error) string {
	var api smithy.APIError
	if errors.As(err, &api) {
		return api.ErrorCode()
	}
	return ""
}

func statusOf(err error) int {
	var response *smithyhttp.ResponseError
	if errors.As(err, &response) {
		return response.HTTPStatusCode()
	}
	return 0
}

// classify wraps an error of the SDK in what package store promises.
func (s *Store) classify(ctx context.Context, err error) error {
	err = explain(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return fmt.Errorf("%w: %v", ctx.Err(), err)
	case codeOf(err) == "NoSuchBucket":
		return fmt.Errorf("%w: bucket %s does not exist: create it, or check its name (%w)", store.ErrInvalid, s.bucket, err)
	case errors.Is(err, errNoCredentials):
		return fmt.Errorf("%w: %w (%v)", store.ErrAuth, errNoCredentials, err)
	}
	class := classOf(err)
	switch {
	case class == nil && remote.IsUnsent(err) && !s.reached.Load():
		return remote.Unreachable(err)
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		// A timeout of the network, which must not look like the caller's.
		return fmt.Errorf("%v", err)
	case class == store.ErrAuth && isOfIdentity(err): //nolint:errorlint // classOf returns it bare
		return fmt.Errorf("%w: %w: %w", class, store.ErrCredentials, err)
	case class != nil:
		return fmt.Errorf("%w: %w", class, err)
	}
	return err
}

// attemptWatch counts the attempts at a request that failed, and notes whether
// any of them may have taken effect nevertheless.
type attemptWatch struct {
	failed  int
	unknown bool
}

type attemptWatchKey struct{}

// watchOf returns the watch of an operation of the SDK, in whose stack there is
// always one.
func watchOf(ctx context.Context) *attemptWatch {
	return ctx.Value(attemptWatchKey{}).(*attemptWatch)
}

// watchAttempts returns a context for one operation of the SDK.
func watchAttempts(ctx context.Context) (context.Context, *attemptWatch) {
	w := &attemptWatch{}
	return context.WithValue(ctx, attemptWatchKey{}, w), w
}

// addAttemptWatch puts the watch inside the retries of the SDK, which only
// returns the last of several errors.
func (s *Store) addAttemptWatch(stack *middleware.Stack) error {
	begin := func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		if ctx.Value(attemptWatchKey{}) == nil {
			ctx, _ = watchAttempts(ctx)
		}
		return next.HandleFinalize(ctx, in)
	}
	watch := func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
		middleware.FinalizeOutput, middleware.Metadata, error,
	) {
		out, metadata, err := s.attempt(ctx, in, next)
		w := watchOf(ctx)
		if err != nil {
			w.failed++
		}
		if err != nil && !isRefusal(err) {
			w.unknown = true
		}
		if err == nil || statusOf(err) != 0 {
			s.reached.Store(true)
		}
		return out, metadata, err
	}
	return errors.Join(
		stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("OffsiteBeginWatch", begin), "Retry", middleware.Before),
		stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("OffsiteAttemptWatch", watch), "Retry", middleware.After),
	)
}

// attempt sends a request once. With content, it may take so long and no longer;
// what ends an upload in parts has little content, and takes its time. Between
// its attempts, a part leaves its place in the window to others.
func (s *Store) attempt(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (
	out middleware.FinalizeOutput, metadata middleware.Metadata, err error,
) {
	op, attempt := awsmiddleware.GetOperationName(ctx), ctx
	if op == "UploadPart" {
		if err := s.window.Enter(ctx); err != nil {
			return out, metadata, err
		}
		defer func() { s.window.Leave(err == nil) }()
	}
	if req, ok := in.Request.(*smithyhttp.Request); ok && (op == "UploadPart" || op == "PutObject") {
		var cancel context.CancelFunc
		attempt, cancel = remote.WithPatience(ctx, req.ContentLength)
		defer cancel()
	}
	out, metadata, err = next.HandleFinalize(attempt, in)
	err = remote.Explain(attempt, err)
	if err != nil && (isThrottling(err) || !remote.IsUnsent(err) && remote.IsTimeout(err)) {
		s.window.Shrink()
	}
	return out, metadata, err
}

// isThrottling tells whether the server asks for less.
func isThrottling(err error) bool {
	_, known := retry.DefaultThrottleErrorCodes[codeOf(err)]
	return known || remote.IsThrottling(statusOf(err))
}

// classifyPut is classify for the request that makes an object visible. A clear
// refusal of the last attempt says nothing about the ones before.
func (s *Store) classifyPut(ctx context.Context, err error, w *attemptWatch, ifAbsent bool) error {
	err = explain(err)
	switch {
	case err == nil || ctx.Err() != nil:
		return s.classify(ctx, err)
	case ifAbsent && (codeOf(err) == "PreconditionFailed" || statusOf(err) == http.StatusPreconditionFailed):
		return fmt.Errorf("%w: %v", store.ErrExists, err)
	case w.unknown && isRefusal(err):
		return fmt.Errorf("unknown if stored: %v", err)
	}
	return s.classify(ctx, err)
}
