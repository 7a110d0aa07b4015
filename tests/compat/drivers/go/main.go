// Drives the AWS SDK for Go v2 with its default settings against one endpoint and prints one JSON line a check:
// {"check": "multipart", "ok": true}, or false with a detail. The test module beside it says which checks must be there.
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// site is what a check has to work with: the endpoint, a bucket of its own and a client.
type site struct {
	endpoint, vhostEndpoint string
	access, secret          string
	bucket, versioned       string
	keys                    []string
	s3                      *s3.Client
}

type check struct {
	name string
	run  func(context.Context, *site) error
}

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), 4*time.Minute)
	defer cancel()
	here := &site{
		endpoint: os.Getenv("COMPAT_ENDPOINT"), vhostEndpoint: os.Getenv("COMPAT_VHOST_ENDPOINT"),
		access: os.Getenv("COMPAT_ACCESS_KEY"), secret: os.Getenv("COMPAT_SECRET_KEY"),
		bucket: os.Getenv("COMPAT_BUCKET"), versioned: os.Getenv("COMPAT_VERSIONED_BUCKET"),
	}
	if err := json.Unmarshal([]byte(os.Getenv("COMPAT_KEYS")), &here.keys); err != nil {
		panic(err)
	}
	here.s3 = here.client(ctx, here.secret, func(o *s3.Options) { o.UsePathStyle = true })
	out := json.NewEncoder(os.Stdout)
	for _, c := range allChecks() {
		line := map[string]any{"check": c.name, "ok": true}
		if err := runGuarded(ctx, here, c); err != nil {
			line["ok"], line["detail"] = false, err.Error()
		}
		_ = out.Encode(line)
	}
}

func allChecks() []check {
	var all []check
	for _, family := range [][]check{objectChecks, uploadChecks, conditionChecks, accessChecks} {
		all = append(all, family...)
	}
	return all
}

func runGuarded(ctx context.Context, here *site, c check) (err error) {
	defer func() {
		if caught := recover(); caught != nil {
			err = fmt.Errorf("panic: %v", caught)
		}
	}()
	return c.run(ctx, here)
}

// client is the SDK's default client, but for the endpoint, the credentials and the addressing style.
func (here *site) client(ctx context.Context, secret string, options ...func(*s3.Options)) *s3.Client {
	loaded, err := config.LoadDefaultConfig(ctx,
		config.WithRegion("us-east-1"),
		config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(here.access, secret, "")),
		config.WithBaseEndpoint(here.endpoint))
	if err != nil {
		panic(err)
	}
	return s3.NewFromConfig(loaded, options...)
}

// vhostClient addresses buckets as subdomains of a name that nothing resolves: it dials loopback, whatever the name.
func (here *site) vhostClient(ctx context.Context) *s3.Client {
	return here.client(ctx, here.secret, func(o *s3.Options) {
		o.BaseEndpoint = aws.String(here.vhostEndpoint)
		o.HTTPClient = awshttp.NewBuildableClient().WithTransportOptions(func(transport *http.Transport) {
			transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
				_, port, err := net.SplitHostPort(address)
				if err != nil {
					return nil, err
				}
				return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
			}
		})
	})
}
