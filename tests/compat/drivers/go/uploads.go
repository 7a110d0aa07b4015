package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/feature/s3/transfermanager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var uploadChecks = []check{
	{"stream", checkStream},
	{"multipart", checkMultipart},
	{"checksums", checkChecksums},
	{"sha256", checkSHA256},
}

// unseekable hides everything of a reader but Read: a body whose length nobody knows.
type unseekable struct{ from io.Reader }

func (u unseekable) Read(into []byte) (int, error) { return u.from.Read(into) }

func randomBytes(count int) []byte {
	made := make([]byte, count)
	if _, err := rand.Read(made); err != nil {
		panic(err)
	}
	return made
}

// checkStream uploads bodies of unknown length through the upload manager: one part, and several. A plain PutObject
// takes a body that cannot be read twice over https only, with its checksum in a trailer; over http the SDK refuses.
func checkStream(ctx context.Context, here *site) error {
	for _, count := range []int{0, 1000, 12 << 20} {
		body := randomBytes(count)
		key := fmt.Sprintf("streamed-%d", count)
		_, err := manager.NewUploader(here.s3).Upload(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: &key, Body: unseekable{bytes.NewReader(body)}})
		if err != nil {
			return fmt.Errorf("%d bytes: %w", count, err)
		}
		if err := here.expect(ctx, key, body); err != nil {
			return err
		}
	}
	body := randomBytes(300_000)
	_, err := here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: aws.String("unseekable"),
		ContentLength: aws.Int64(int64(len(body))), Body: unseekable{bytes.NewReader(body)}})
	if strings.HasPrefix(here.endpoint, "https:") {
		if err != nil {
			return err
		}
		return here.expect(ctx, "unseekable", body)
	}
	if err == nil {
		return fmt.Errorf("the SDK sent an unseekable body over http")
	}
	return nil
}

func checkMultipart(ctx context.Context, here *site) error {
	body := randomBytes(18<<20 + 7)
	key := "multi"
	transfers := transfermanager.New(here.s3)
	_, err := transfers.UploadObject(ctx, &transfermanager.UploadObjectInput{Bucket: &here.bucket, Key: &key, Body: bytes.NewReader(body)})
	if err != nil {
		return err
	}
	head, err := here.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &here.bucket, Key: &key, PartNumber: aws.Int32(1)})
	if err != nil {
		return err
	}
	if aws.ToInt32(head.PartsCount) < 2 {
		return fmt.Errorf("%d parts", aws.ToInt32(head.PartsCount))
	}
	got := manager.NewWriteAtBuffer(nil)
	if _, err = manager.NewDownloader(here.s3).Download(ctx, got, &s3.GetObjectInput{Bucket: &here.bucket, Key: &key}); err != nil {
		return err
	}
	if !bytes.Equal(got.Bytes(), body) {
		return fmt.Errorf("downloaded %d bytes that are not the %d uploaded", len(got.Bytes()), len(body))
	}
	return nil
}

// checkChecksums: what the SDK adds by itself, and each algorithm by name, comes back and is validated on the way.
func checkChecksums(ctx context.Context, here *site) error {
	if _, err := here.put(ctx, "summed", []byte("123456789")); err != nil {
		return err
	}
	head, err := here.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &here.bucket, Key: aws.String("summed"), ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return err
	}
	if aws.ToString(head.ChecksumCRC32) != "y/Q5Jg==" {
		return fmt.Errorf("default checksum: %v", head.ChecksumCRC32)
	}
	for _, algorithm := range []types.ChecksumAlgorithm{types.ChecksumAlgorithmCrc32c, types.ChecksumAlgorithmCrc64nvme, types.ChecksumAlgorithmSha1} {
		key := "summed-" + string(algorithm)
		_, err := here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: &key, ChecksumAlgorithm: algorithm, Body: strings.NewReader("123456789")})
		if err != nil {
			return fmt.Errorf("%s: %w", algorithm, err)
		}
		if err := here.expect(ctx, key, []byte("123456789")); err != nil {
			return err
		}
	}
	_, err = here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: aws.String("wrong"), ChecksumCRC32: aws.String("AAAAAA=="), Body: strings.NewReader("123456789")})
	return expectCode(err, "BadDigest", 400)
}

func checkSHA256(ctx context.Context, here *site) error {
	key := "sha256"
	_, err := here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: &key, ChecksumAlgorithm: types.ChecksumAlgorithmSha256, Body: strings.NewReader("123456789")})
	if err != nil {
		return err
	}
	head, err := here.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &here.bucket, Key: &key, ChecksumMode: types.ChecksumModeEnabled})
	if err != nil {
		return err
	}
	if aws.ToString(head.ChecksumSHA256) != "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=" {
		return fmt.Errorf("%v", aws.ToString(head.ChecksumSHA256))
	}
	return here.expect(ctx, key, []byte("123456789"))
}
