package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"mime"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

var objectChecks = []check{
	{"small", checkSmall},
	{"range", checkRange},
	{"list", checkList},
	{"copy", checkCopy},
	{"delete_many", checkDeleteMany},
	{"metadata", checkMetadata},
	{"keys", checkKeys},
	{"tagging", checkTagging},
	{"versioning", checkVersioning},
	{"cross", checkCross},
}

func (here *site) put(ctx context.Context, key string, body []byte) (*s3.PutObjectOutput, error) {
	return here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: &key, Body: bytes.NewReader(body)})
}

func (here *site) get(ctx context.Context, client *s3.Client, input *s3.GetObjectInput) ([]byte, error) {
	answer, err := client.GetObject(ctx, input)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
}

// expect reads an object and compares.
func (here *site) expect(ctx context.Context, key string, wanted []byte) error {
	got, err := here.get(ctx, here.s3, &s3.GetObjectInput{Bucket: &here.bucket, Key: &key})
	if err != nil {
		return fmt.Errorf("get %q: %w", key, err)
	}
	if !bytes.Equal(got, wanted) {
		return fmt.Errorf("get %q: %d bytes that are not the %d written", key, len(got), len(wanted))
	}
	return nil
}

func checkSmall(ctx context.Context, here *site) error {
	for _, body := range [][]byte{[]byte("hello"), {}} {
		if _, err := here.put(ctx, "small", body); err != nil {
			return err
		}
		head, err := here.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &here.bucket, Key: aws.String("small")})
		if err != nil {
			return err
		}
		if *head.ContentLength != int64(len(body)) {
			return fmt.Errorf("head says %d bytes", *head.ContentLength)
		}
		if err := here.expect(ctx, "small", body); err != nil {
			return err
		}
	}
	_, err := here.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &here.bucket, Key: aws.String("small")})
	return err
}

func checkRange(ctx context.Context, here *site) error {
	body := bytes.Repeat([]byte("0123456789"), 100_000)
	if _, err := here.put(ctx, "ranged", body); err != nil {
		return err
	}
	for asked, wanted := range map[string][]byte{
		"bytes=5-14": body[5:15], "bytes=999990-": body[999_990:], "bytes=-7": body[999_993:], "bytes=999999-2000000": body[999_999:],
	} {
		got, err := here.get(ctx, here.s3, &s3.GetObjectInput{Bucket: &here.bucket, Key: aws.String("ranged"), Range: &asked})
		if err != nil || !bytes.Equal(got, wanted) {
			return fmt.Errorf("%s: %d bytes, %w", asked, len(got), err)
		}
	}
	_, err := here.get(ctx, here.s3, &s3.GetObjectInput{Bucket: &here.bucket, Key: aws.String("ranged"), Range: aws.String("bytes=1000000-")})
	return expectCode(err, "InvalidRange", 416)
}

func checkList(ctx context.Context, here *site) error {
	for number := range 12 {
		if _, err := here.put(ctx, fmt.Sprintf("list/d%02d/file", number), nil); err != nil {
			return err
		}
	}
	if _, err := here.put(ctx, "list/plain", nil); err != nil {
		return err
	}
	pages := s3.NewListObjectsV2Paginator(here.s3, &s3.ListObjectsV2Input{
		Bucket: &here.bucket, Prefix: aws.String("list/"), Delimiter: aws.String("/"), MaxKeys: aws.Int32(5)})
	var prefixes, keys, count int
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return err
		}
		prefixes, keys, count = prefixes+len(page.CommonPrefixes), keys+len(page.Contents), count+1
	}
	if prefixes != 12 || keys != 1 || count != 3 {
		return fmt.Errorf("%d prefixes, %d keys, %d pages", prefixes, keys, count)
	}
	return nil
}

func checkCopy(ctx context.Context, here *site) error {
	if _, err := here.put(ctx, "copy/from ü+", []byte("copied")); err != nil {
		return err
	}
	_, err := here.s3.CopyObject(ctx, &s3.CopyObjectInput{
		Bucket: &here.bucket, Key: aws.String("copy/to"), CopySource: aws.String(here.bucket + "/copy/from%20%C3%BC%2B")})
	if err != nil {
		return err
	}
	return here.expect(ctx, "copy/to", []byte("copied"))
}

func checkDeleteMany(ctx context.Context, here *site) error {
	var doomed []types.ObjectIdentifier
	for _, key := range []string{"many/a", "many/b & <c>", "many/ü"} {
		if _, err := here.put(ctx, key, []byte("x")); err != nil {
			return err
		}
		doomed = append(doomed, types.ObjectIdentifier{Key: aws.String(key)})
	}
	done, err := here.s3.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: &here.bucket, Delete: &types.Delete{Objects: doomed}})
	if err != nil {
		return err
	}
	if len(done.Deleted) != 3 || len(done.Errors) != 0 {
		return fmt.Errorf("%d deleted, %d errors", len(done.Deleted), len(done.Errors))
	}
	return nil
}

func checkMetadata(ctx context.Context, here *site) error {
	wanted := map[string]string{"plain": "a value", "unicode": "schön ключ"}
	_, err := here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: aws.String("meta"), Metadata: wanted,
		ContentType: aws.String("text/x-thing"), CacheControl: aws.String("max-age=60"), Body: strings.NewReader("x")})
	if err != nil {
		return err
	}
	head, err := here.s3.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &here.bucket, Key: aws.String("meta")})
	if err != nil {
		return err
	}
	for name, value := range wanted { // S3 answers what is not ASCII as encoded words (RFC 2047)
		got, err := (&mime.WordDecoder{}).DecodeHeader(head.Metadata[name])
		if err != nil || got != value {
			return fmt.Errorf("%s is %q, %w", name, head.Metadata[name], err)
		}
	}
	if aws.ToString(head.ContentType) != "text/x-thing" || aws.ToString(head.CacheControl) != "max-age=60" {
		return fmt.Errorf("%v %v", head.ContentType, head.CacheControl)
	}
	return nil
}

func checkKeys(ctx context.Context, here *site) error {
	for _, key := range here.keys {
		if _, err := here.put(ctx, "keys/"+key, []byte(key)); err != nil {
			return fmt.Errorf("put %q: %w", key, err)
		}
		if err := here.expect(ctx, "keys/"+key, []byte(key)); err != nil {
			return err
		}
	}
	listed, err := here.s3.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &here.bucket, Prefix: aws.String("keys/")})
	if err != nil {
		return err
	}
	found := map[string]bool{}
	for _, row := range listed.Contents {
		found[*row.Key] = true
	}
	for _, key := range here.keys {
		if !found["keys/"+key] {
			return fmt.Errorf("%q is not listed", key)
		}
	}
	return nil
}

func checkTagging(ctx context.Context, here *site) error {
	tags := []types.Tag{{Key: aws.String("a b"), Value: aws.String("ü+/=")}}
	key := aws.String("tagged")
	_, err := here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: &here.bucket, Key: key, Tagging: aws.String("k=v&x=y%20z"), Body: strings.NewReader("x")})
	if err != nil {
		return err
	}
	got, err := here.s3.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &here.bucket, Key: key})
	if err != nil {
		return err
	}
	if len(got.TagSet) != 2 {
		return fmt.Errorf("%d tags from the header", len(got.TagSet))
	}
	_, err = here.s3.PutObjectTagging(ctx, &s3.PutObjectTaggingInput{Bucket: &here.bucket, Key: key, Tagging: &types.Tagging{TagSet: tags}})
	if err != nil {
		return err
	}
	if got, err = here.s3.GetObjectTagging(ctx, &s3.GetObjectTaggingInput{Bucket: &here.bucket, Key: key}); err != nil {
		return err
	}
	if len(got.TagSet) != 1 || *got.TagSet[0].Key != "a b" || *got.TagSet[0].Value != "ü+/=" {
		return fmt.Errorf("tags are %v", got.TagSet)
	}
	_, err = here.s3.DeleteObjectTagging(ctx, &s3.DeleteObjectTaggingInput{Bucket: &here.bucket, Key: key})
	return err
}

func checkVersioning(ctx context.Context, here *site) error {
	bucket, key := &here.versioned, aws.String("versioned")
	_, err := here.s3.PutBucketVersioning(ctx, &s3.PutBucketVersioningInput{Bucket: bucket,
		VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		return err
	}
	first, err := here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("one")})
	if err != nil {
		return err
	}
	if _, err = here.s3.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: key, Body: strings.NewReader("two")}); err != nil {
		return err
	}
	marker, err := here.s3.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
	if err != nil {
		return err
	}
	got, err := here.get(ctx, here.s3, &s3.GetObjectInput{Bucket: bucket, Key: key, VersionId: first.VersionId})
	if err != nil || string(got) != "one" {
		return fmt.Errorf("old version: %q, %w", got, err)
	}
	listed, err := here.s3.ListObjectVersions(ctx, &s3.ListObjectVersionsInput{Bucket: bucket})
	if err != nil {
		return err
	}
	if !aws.ToBool(marker.DeleteMarker) || len(listed.Versions) != 2 || len(listed.DeleteMarkers) != 1 {
		return fmt.Errorf("%d versions, %d markers", len(listed.Versions), len(listed.DeleteMarkers))
	}
	return nil
}

// checkCross reads what boto3 wrote before, and leaves something for it to read after.
func checkCross(ctx context.Context, here *site) error {
	if err := here.expect(ctx, "from-boto3", []byte("written by boto3")); err != nil {
		return err
	}
	_, err := here.put(ctx, "for-boto3", []byte("written by the driver"))
	return err
}
