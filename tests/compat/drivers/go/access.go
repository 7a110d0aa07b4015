package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

var accessChecks = []check{
	{"presign_get", checkPresignGet},
	{"presign_put", checkPresignPut},
	{"virtual_host", checkVirtualHost},
	{"wrong_secret", checkWrongSecret},
}

func checkPresignGet(ctx context.Context, here *site) error {
	if _, err := here.put(ctx, "presigned/ü + get", []byte("presigned")); err != nil {
		return err
	}
	url, err := s3.NewPresignClient(here.s3).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: &here.bucket,
		Key: aws.String("presigned/ü + get"), ResponseContentType: aws.String("text/x-other")}, s3.WithPresignExpires(time.Minute))
	if err != nil {
		return err
	}
	answer, err := http.Get(url.URL)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil || string(body) != "presigned" || answer.Header.Get("Content-Type") != "text/x-other" {
		return fmt.Errorf("%d %s %w", answer.StatusCode, body, err)
	}
	return nil
}

func checkPresignPut(ctx context.Context, here *site) error {
	url, err := s3.NewPresignClient(here.s3).PresignPutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: aws.String("presigned put")})
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPut, url.URL, strings.NewReader("by url"))
	if err != nil {
		return err
	}
	for name, values := range url.SignedHeader {
		if name != "Host" && name != "Content-Length" {
			request.Header[name] = values
		}
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if said, _ := io.ReadAll(answer.Body); answer.StatusCode != 200 {
		return fmt.Errorf("%d %s", answer.StatusCode, said)
	}
	return here.expect(ctx, "presigned put", []byte("by url"))
}

func checkVirtualHost(ctx context.Context, here *site) error {
	client := here.vhostClient(ctx)
	key := aws.String("virtual/a b//c")
	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: key, Body: bytes.NewReader([]byte("by name"))})
	if err != nil {
		return err
	}
	got, err := here.get(ctx, client, &s3.GetObjectInput{Bucket: &here.bucket, Key: key})
	if err != nil || string(got) != "by name" {
		return fmt.Errorf("%q %w", got, err)
	}
	if err := here.expect(ctx, *key, []byte("by name")); err != nil {
		return err
	}
	_, err = client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &here.bucket, Prefix: aws.String("virtual/")})
	return err
}

func checkWrongSecret(ctx context.Context, here *site) error {
	client := here.client(ctx, here.secret+"x", func(o *s3.Options) { o.UsePathStyle = true })
	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: aws.String("never"), Body: strings.NewReader("x")})
	if err := expectCode(err, "SignatureDoesNotMatch", 403); err != nil {
		return err
	}
	_, err = here.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &here.bucket, Key: aws.String("never")})
	return expectCode(err, "NotFound", 404)
}
