package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go"
)

var conditionChecks = []check{
	{"if_none_match", checkIfNoneMatch},
	{"if_match", checkIfMatch},
	{"no_such_key", checkNoSuchKey},
}

// expectCode wants exactly this error code and status.
func expectCode(err error, code string, status int) error {
	if err == nil {
		return fmt.Errorf("succeeded instead of %s", code)
	}
	var coded smithy.APIError
	var answered *awshttp.ResponseError
	if !errors.As(err, &coded) || !errors.As(err, &answered) || coded.ErrorCode() != code || answered.HTTPStatusCode() != status {
		return fmt.Errorf("instead of %s (%d): %w", code, status, err)
	}
	return nil
}

func checkIfNoneMatch(ctx context.Context, here *site) error {
	create := &s3.PutObjectInput{Bucket: &here.bucket, Key: aws.String("created"), IfNoneMatch: aws.String("*"), Body: strings.NewReader("first")}
	if _, err := here.s3.PutObject(ctx, create); err != nil {
		return err
	}
	create.Body = strings.NewReader("second")
	_, err := here.s3.PutObject(ctx, create)
	if err := expectCode(err, "PreconditionFailed", 412); err != nil {
		return err
	}
	return here.expect(ctx, "created", []byte("first"))
}

func checkIfMatch(ctx context.Context, here *site) error {
	first, err := here.put(ctx, "swapped", []byte("one"))
	if err != nil {
		return err
	}
	swap := func(body string) error {
		_, err := here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: aws.String("swapped"), IfMatch: first.ETag, Body: strings.NewReader(body)})
		return err
	}
	if err := swap("two"); err != nil {
		return err
	}
	if err := expectCode(swap("three"), "PreconditionFailed", 412); err != nil {
		return err
	}
	return here.expect(ctx, "swapped", []byte("two"))
}

func checkNoSuchKey(ctx context.Context, here *site) error {
	_, err := here.get(ctx, here.s3, &s3.GetObjectInput{Bucket: &here.bucket, Key: aws.String("not there")})
	if err := expectCode(err, "NoSuchKey", 404); err != nil {
		return err
	}
	_, err = here.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &here.bucket, Key: aws.String("not there")})
	if err := expectCode(err, "NotFound", 404); err != nil {
		return err
	}
	_, err = here.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: aws.String("no-such-bucket-at-all")})
	return expectCode(err, "NoSuchBucket", 404)
}
