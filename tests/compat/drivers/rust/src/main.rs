//! Drives the AWS SDK for Rust with its default settings against one endpoint and prints one JSON line a check:
//! {"check": "multipart", "ok": true}, or false with a detail. The test module beside it says which checks must be there.

mod access;
mod objects;
mod site;
mod uploads;

use std::future::Future;
use std::pin::Pin;

use site::Site;

/// What a check says: nothing, or why it failed.
pub type Outcome = Result<(), Box<dyn std::error::Error + Send + Sync>>;

type Check = for<'a> fn(&'a Site) -> Pin<Box<dyn Future<Output = Outcome> + Send + 'a>>;

/// An error with everything below it: the SDK's outermost line says only "service error".
fn describe(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut inner = error.source();
    while let Some(cause) = inner {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        inner = cause.source();
    }
    text
}

macro_rules! checks {
    ($($module:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |site| Box::pin($module::$name(site)))),*]
    };
}

const CHECKS: &[(&str, Check)] = checks![
    objects::small,
    objects::range,
    objects::list,
    objects::copy,
    objects::delete_many,
    objects::metadata,
    objects::keys,
    objects::tagging,
    objects::versioning,
    objects::cross,
    uploads::stream,
    uploads::multipart,
    uploads::checksums,
    uploads::sha256,
    access::if_none_match,
    access::if_match,
    access::no_such_key,
    access::presign_get,
    access::presign_put,
    access::virtual_host,
    access::wrong_secret,
];

#[tokio::main]
async fn main() {
    let site = Site::from_environment().await;
    for (name, check) in CHECKS {
        let line = match check(&site).await {
            Ok(()) => serde_json::json!({"check": name, "ok": true}),
            Err(error) => serde_json::json!({"check": name, "ok": false, "detail": describe(error.as_ref())}),
        };
        println!("{line}");
    }
}
