//! A bucket of Amazon S3, or of a server that speaks its protocol (Cloudflare R2, MinIO, Ceph, Garage).
//!
//! `object_store` knows the protocol, its signatures and its retries; the requests themselves go through the same HTTP
//! client as all others, with the same limits. The `AWS_*` variables are those of Amazon's own tools.
//!
//! Caches are asked to revalidate before they serve a copy (`Cache-Control: no-cache`), so that readers get the capsule
//! that is there. A bucket keeps no order between two writers: there should be one publisher for each prefix.

use std::fmt;
use std::time::Duration;

use http_body_util::BodyExt as _;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey};
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpResponseBody, HttpService,
};
use object_store::path::Path;
use object_store::{
    Attribute, Attributes, BackoffConfig, ClientOptions, ObjectStore as _, ObjectStoreExt as _, PutOptions, RetryConfig,
};
use rendezvous_protocol::limits::CAPSULE_MAX_BYTES;
use tokio::runtime::Runtime;

use super::files::{CAPSULE, Files, Held, MINISIG, SIGNATURE};
use crate::failure::{Cause, Exit};
use crate::fetch::{FetchError, Fetcher, parse_url};
use crate::text;

/// Bytes of an answer: the largest is a capsule.
const ANSWER_MAX_BYTES: usize = CAPSULE_MAX_BYTES + 64 * 1024;

/// Attempts after the first one, where the failure may be a passing one.
const RETRIES: usize = 2;

/// One of these has to be set, or there is nothing to sign requests with.
const CREDENTIALS: [&str; 5] = [
    "AWS_ACCESS_KEY_ID",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_METADATA_ENDPOINT",
];

/// `s3://bucket/prefix`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Address {
    bucket: String,
    prefix: Path,
}

impl Address {
    /// Takes `s3://bucket` and `s3://bucket/prefix`.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const MUST: &str = "must be the address of a bucket, like s3://bucket or s3://bucket/prefix";
        let rest = text.strip_prefix("s3://").ok_or(MUST)?;
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        let is_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'.');
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_name) {
            return Err(format!("{MUST}: a bucket's name has 3 to 63 of a-z 0-9 - ."));
        }
        let prefix = Path::parse(prefix).map_err(|error| format!("{MUST}: {error}"))?;
        Ok(Self { bucket: bucket.to_owned(), prefix })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { bucket, prefix } = self;
        write!(formatter, "s3://{bucket}")?;
        if prefix.as_ref().is_empty() { Ok(()) } else { write!(formatter, "/{prefix}") }
    }
}

/// What can go wrong with a bucket.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BucketError {
    /// Nothing to sign requests with.
    #[error(
        "no credentials for {address}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_REGION; for another \
         server than Amazon's AWS_ENDPOINT_URL)"
    )]
    NoCredentials {
        /// The bucket.
        address: Address,
    },
    /// The variables do not go together.
    #[error("{address} cannot be used with these AWS_* variables: {reason}")]
    Settings {
        /// The bucket.
        address: Address,
        /// What is wrong.
        reason: String,
    },
    /// The capsule in it cannot be read, so that nobody knows what would be replaced.
    #[error("{file}, which is to be replaced, cannot be read: {reason}{}", advice(*.kind))]
    Read {
        /// The file.
        file: String,
        /// Why.
        reason: String,
        /// Whose fault it is.
        kind: Fault,
    },
    /// A file cannot be written.
    #[error("{file} cannot be written: {reason}{}", advice(*.kind))]
    Write {
        /// The file.
        file: String,
        /// Why.
        reason: String,
        /// Whose fault it is.
        kind: Fault,
    },
}

/// Why a request did not work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The server could not be reached, or failed.
    Passing,
    /// It said no.
    Refused,
    /// There is no such bucket.
    Absent,
}

const fn advice(fault: Fault) -> &'static str {
    match fault {
        Fault::Passing => "",
        Fault::Refused => {
            ". Check the AWS_* variables; the key needs s3:PutObject and s3:GetObject, and s3:ListBucket, without \
             which a file that is not there is forbidden too"
        }
        Fault::Absent => ". Check the bucket's name, and AWS_REGION or AWS_ENDPOINT_URL",
    }
}

impl Cause for BucketError {
    fn exit(&self) -> Exit {
        match self {
            // It may work another time without anybody doing anything.
            Self::Read { kind: Fault::Passing, .. } | Self::Write { kind: Fault::Passing, .. } => Exit::Unreachable,
            _ => Exit::Usage,
        }
    }
}

/// A bucket and a prefix in it.
pub(crate) struct Bucket {
    address: Address,
    store: AmazonS3,
    runtime: Runtime,
}

impl Bucket {
    /// Puts the address and the `AWS_*` variables together. Makes no request.
    pub(crate) fn open(address: &Address, fetcher: &Fetcher, timeout: Duration) -> Result<Self, BucketError> {
        let settings = |reason: String| BucketError::Settings { address: address.clone(), reason };
        let mut builder = AmazonS3Builder::new().with_bucket_name(&address.bucket);
        let mut credentials = false;
        for (name, value) in std::env::vars_os() {
            let Some(name) = name.to_str().filter(|name| name.starts_with("AWS_")) else { continue };
            let Ok(key) = name.to_ascii_lowercase().parse::<AmazonS3ConfigKey>() else { continue };
            let value = value.to_str().ok_or_else(|| settings(format!("{name} is not valid UTF-8")))?.trim();
            // One that is empty counts as not set, as everywhere else.
            if value.is_empty() {
                continue;
            }
            if is_address(key) {
                parse_url(value)
                    .map_err(|error| settings(format!("{name} is not the address of a server: {error}")))?;
            }
            if key != AmazonS3ConfigKey::Bucket {
                builder = builder.with_config(key, value);
            }
            credentials |= CREDENTIALS.contains(&name) || key == AmazonS3ConfigKey::SkipSignature;
        }
        if !credentials {
            return Err(BucketError::NoCredentials { address: address.clone() });
        }
        let backoff = BackoffConfig { init_backoff: Duration::from_millis(300), ..BackoffConfig::default() };
        let store = builder
            .with_http_connector(Connector { fetcher: fetcher.clone(), timeout })
            .with_retry(RetryConfig { backoff, max_retries: RETRIES, retry_timeout: timeout })
            .build()
            .map_err(|error| settings(describe(&error)))?;
        // Only its timer is used, between two attempts; the requests themselves keep this thread waiting.
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .build()
            .map_err(|error| settings(error.to_string()))?;
        Ok(Self { address: address.clone(), store, runtime })
    }

    /// The address of a file of this name.
    pub(crate) fn file(&self, name: &str) -> String {
        format!("{self}/{name}")
    }

    /// Reads the capsule that is there.
    pub(crate) fn held(&self) -> Result<Held, BucketError> {
        Ok(Held { json: self.read(CAPSULE)?, signature: self.read(SIGNATURE)? })
    }

    /// Replaces the files one by one.
    pub(crate) fn replace(&self, files: &Files) -> Result<(), BucketError> {
        let before = [MINISIG, SIGNATURE].map(|name| (name, self.read(name).ok().flatten()));
        let mut result = Ok(());
        for (name, content) in files.in_order() {
            result = self.write(name, content.clone().into_bytes());
            if result.is_err() {
                break;
            }
        }
        if result.is_err() {
            return match self.read(CAPSULE) {
                // The answer was lost, not the write.
                Ok(Some(json)) if json == files.capsule.json.as_bytes() => Ok(()),
                // The old capsule is there, perhaps with new signatures, and nobody would believe it until the next run.
                Ok(_) => {
                    for (name, content) in before {
                        if let Some(content) = content {
                            let _ = self.write(name, content);
                        }
                    }
                    result
                }
                Err(_) => result,
            };
        }
        result
    }

    fn path(&self, name: &str) -> Path {
        self.address.prefix.clone().join(name)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, BucketError> {
        let path = self.path(name);
        let read = async { self.store.get(&path).await?.bytes().await };
        match self.runtime.block_on(read) {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(error) if is_no_such_file(&error) => Ok(None),
            Err(error) => {
                Err(BucketError::Read { file: self.file(name), reason: describe(&error), kind: fault(&error) })
            }
        }
    }

    fn write(&self, name: &str, content: Vec<u8>) -> Result<(), BucketError> {
        let content_type = if name == CAPSULE { "application/json" } else { "text/plain; charset=utf-8" };
        let attributes =
            Attributes::from_iter([(Attribute::ContentType, content_type), (Attribute::CacheControl, "no-cache")]);
        let path = self.path(name);
        let options = PutOptions { attributes, ..PutOptions::default() };
        let write = self.store.put_opts(&path, content.into(), options);
        self.runtime.block_on(write).map(drop).map_err(|error| BucketError::Write {
            file: self.file(name),
            reason: describe(&error),
            kind: fault(&error),
        })
    }
}

impl fmt::Debug for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Bucket").field(&self.address).finish()
    }
}

impl fmt::Display for Bucket {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.address.fmt(formatter)
    }
}

/// Whether a variable names a server. `object_store` takes any text for one, and panics when it makes the request.
const fn is_address(key: AmazonS3ConfigKey) -> bool {
    matches!(
        key,
        AmazonS3ConfigKey::Endpoint
            | AmazonS3ConfigKey::MetadataEndpoint
            | AmazonS3ConfigKey::ContainerCredentialsFullUri
    )
}

/// A bucket that is not there is another matter: nothing could be written to it.
fn is_no_such_file(error: &object_store::Error) -> bool {
    matches!(error, object_store::Error::NotFound { source, .. } if !all_of(source.as_ref()).contains("NoSuchBucket"))
}

const fn fault(error: &object_store::Error) -> Fault {
    match error {
        object_store::Error::PermissionDenied { .. } | object_store::Error::Unauthenticated { .. } => Fault::Refused,
        object_store::Error::NotFound { .. } => Fault::Absent,
        _ => Fault::Passing,
    }
}

/// The causes in one line, without what a server wrote to move the cursor.
fn describe(error: &object_store::Error) -> String {
    const MAX_CHARS: usize = 400;
    let whole = match error {
        object_store::Error::Generic { source, .. }
        | object_store::Error::NotFound { source, .. }
        | object_store::Error::PermissionDenied { source, .. }
        | object_store::Error::Unauthenticated { source, .. } => all_of(source.as_ref()),
        other => other.to_string(),
    };
    text::printable(&whole.chars().take(MAX_CHARS).collect::<String>())
}

fn all_of(error: &dyn std::error::Error) -> String {
    let mut whole = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let said = error.to_string();
        if !whole.contains(&said) {
            whole = format!("{whole}: {said}");
        }
        cause = error.source();
    }
    whole
}

/// Makes `object_store`'s requests with this program's own client.
#[derive(Clone, Debug)]
struct Connector {
    fetcher: Fetcher,
    timeout: Duration,
}

impl HttpConnector for Connector {
    fn connect(&self, _: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(self.clone()))
    }
}

#[async_trait::async_trait]
impl HttpService for Connector {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let request = HttpRequest::from_parts(parts, body.to_vec().into()).map(|_| body.to_vec());
        let answer = self.fetcher.send(request, ANSWER_MAX_BYTES, self.timeout);
        let (parts, body) = answer.map_err(|error| HttpError::new(kind(&error), error))?.into_parts();
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::from(body)))
    }
}

const fn kind(error: &FetchError) -> HttpErrorKind {
    match error {
        FetchError::Connection { .. } | FetchError::NotTls => HttpErrorKind::Connect,
        FetchError::TimedOut => HttpErrorKind::Timeout,
        FetchError::Broken { .. } => HttpErrorKind::Interrupted,
        _ => HttpErrorKind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_bucket_and_perhaps_a_prefix() {
        for (text, shown) in [
            ("s3://bucket", "s3://bucket"),
            ("s3://bucket/", "s3://bucket"),
            ("s3://my.bucket-1/a/b/", "s3://my.bucket-1/a/b"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        for text in [
            "",
            "bucket",
            "s3:/bucket",
            "https://bucket",
            "s3://",
            "s3://ab",
            "s3://Bucket",
            "s3://u:p@bucket/a",
            "s3://bucket/a//b",
            "s3://bucket/../x",
        ] {
            assert!(Address::parse(text).unwrap_err().starts_with("must be the address of a bucket"), "{text}");
        }
    }
}
