//! The endpoint, two buckets and clients for them.

use std::env;
use std::net::{IpAddr, Ipv4Addr};

use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::put_object::PutObjectOutput;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::Client;
use aws_smithy_http_client::tls;
use aws_smithy_runtime_api::client::dns::{DnsFuture, ResolveDns};
use aws_smithy_runtime_api::http::Response;

use crate::Outcome;

pub struct Site {
    pub s3: Client,
    pub bucket: String,
    pub versioned: String,
    pub keys: Vec<String>,
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn variable(name: &str) -> String {
    env::var(name).unwrap_or_else(|_| panic!("{name} is not set"))
}

/// Every name is loopback: nothing needs to resolve the names of buckets.
#[derive(Debug, Clone)]
struct Loopback;

impl ResolveDns for Loopback {
    fn resolve_dns<'a>(&'a self, _name: &'a str) -> DnsFuture<'a> {
        DnsFuture::ready(Ok(vec![IpAddr::V4(Ipv4Addr::LOCALHOST)]))
    }
}

/// The SDK's default client, but for the endpoint, the credentials and the addressing style.
async fn loader(endpoint: &str, secret: &str) -> aws_config::ConfigLoader {
    aws_config::defaults(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new(variable("COMPAT_ACCESS_KEY"), secret, None, None, "compat"))
}

async fn path_client(secret: &str) -> Client {
    let shared = loader(&variable("COMPAT_ENDPOINT"), secret).await.load().await;
    Client::from_conf(aws_sdk_s3::config::Builder::from(&shared).force_path_style(true).build())
}

impl Site {
    pub async fn from_environment() -> Self {
        Self {
            s3: path_client(&variable("COMPAT_SECRET_KEY")).await,
            bucket: variable("COMPAT_BUCKET"),
            versioned: variable("COMPAT_VERSIONED_BUCKET"),
            keys: serde_json::from_str(&variable("COMPAT_KEYS")).expect("COMPAT_KEYS is a list"),
        }
    }

    pub async fn wrong_client(&self) -> Client {
        path_client(&format!("{}x", variable("COMPAT_SECRET_KEY"))).await
    }

    pub async fn virtual_host_client(&self) -> Client {
        let http = aws_smithy_http_client::Builder::new()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc))
            .build_with_resolver(Loopback);
        let endpoint = variable("COMPAT_VHOST_ENDPOINT");
        Client::new(&loader(&endpoint, &variable("COMPAT_SECRET_KEY")).await.http_client(http).load().await)
    }

    pub async fn put(&self, key: &str, body: impl Into<Vec<u8>>) -> Result<PutObjectOutput, Failure> {
        let body = ByteStream::from(body.into());
        Ok(self.s3.put_object().bucket(&self.bucket).key(key).body(body).send().await?)
    }

    pub async fn get(&self, key: &str) -> Result<Vec<u8>, Failure> {
        let answer = self.s3.get_object().bucket(&self.bucket).key(key).send().await?;
        Ok(answer.body.collect().await?.to_vec())
    }

    /// Reads an object and compares.
    pub async fn expect(&self, key: &str, wanted: &[u8]) -> Outcome {
        let got = self.get(key).await?;
        same(&format!("{key:?}"), (got.len(), got == wanted), (wanted.len(), true))
    }
}

pub fn same<T: PartialEq + std::fmt::Debug>(what: &str, got: T, wanted: T) -> Outcome {
    if got == wanted {
        Ok(())
    } else {
        Err(format!("{what}: {got:?} instead of {wanted:?}").into())
    }
}

/// Exactly this error code and status.
pub fn refused<T, E: ProvideErrorMetadata>(
    result: Result<T, SdkError<E, Response>>,
    code: &str,
    status: u16,
) -> Outcome {
    let Err(error) = result else { return Err(format!("succeeded instead of {code}").into()) };
    let answered = error.raw_response().map(|response| response.status().as_u16());
    same("refusal", (error.code(), answered), (Some(code), Some(status)))
}
