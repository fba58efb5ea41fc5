//! One HTTP transfer into a file, resumed across cut connections, calls and processes.
//!
//! Certificates are checked by the system's trust store, so a network whose proxy inspects TLS works when its
//! authority is installed; proxies come from the environment.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::Duration;

use serde::de::DeserializeOwned;
use ureq::http::{Response, StatusCode, header};
use ureq::tls::{RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::{HubConfig, Progress, SourceError};

const ATTEMPTS: u32 = 5;
const BACKOFF: Duration = Duration::from_millis(200);
const BUFFER: usize = 1 << 17;

/// The HTTP client of all sources. Statuses are results, not errors.
pub(super) fn agent(config: &HubConfig) -> Agent {
    Agent::config_builder()
        .tls_config(
            TlsConfig::builder()
                .root_certs(RootCerts::PlatformVerifier)
                .build(),
        )
        .user_agent(concat!("flambeau/", env!("CARGO_PKG_VERSION")))
        .http_status_as_error(false)
        .timeout_resolve(Some(config.connect_timeout))
        .timeout_connect(Some(config.connect_timeout))
        .timeout_recv_response(Some(config.stall_timeout))
        .timeout_per_read(Some(config.stall_timeout))
        .build()
        .into()
}

/// A URL fit to be shown: without credentials, query and fragment, which may hold secrets.
pub(super) fn shown(url: &str) -> String {
    let bare = url.split(['?', '#']).next().unwrap_or_default();
    match bare.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!(
                "{scheme}://{}{path}",
                authority.rsplit('@').next().unwrap_or_default()
            )
        }
        None => bare.to_owned(),
    }
}

/// Whether the URL has a user name or password in it.
pub(super) fn has_credentials(url: &str) -> bool {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split('/')
        .next()
        .is_some_and(|authority| authority.contains('@'))
}

/// Reads a listing of at most `limit` bytes.
pub(super) fn json<T: DeserializeOwned>(
    mut response: Response<Body>,
    url: &str,
    limit: u64,
) -> Result<T, SourceError> {
    if !response.status().is_success() {
        return Err(SourceError::Status {
            url: shown(url),
            status: response.status().as_u16(),
        });
    }
    let body = response
        .body_mut()
        .with_config()
        .limit(limit)
        .read_to_vec()
        .map_err(unreachable(url))?;
    serde_json::from_slice(&body).map_err(|error| SourceError::BadAnswer {
        url: shown(url),
        reason: error.to_string(),
    })
}

pub(super) fn unreachable(url: &str) -> impl FnOnce(ureq::Error) -> SourceError {
    let url = shown(url);
    move |reason| SourceError::Unreachable {
        url,
        reason: Box::new(reason),
    }
}

/// Brings `part` to exactly `size` bytes from `url`, continuing what is there, and taking up a cut connection where
/// it broke. What came stays in `part` on errors, unless it is of no use.
pub(super) fn download(
    agent: &Agent,
    url: &str,
    part: &Path,
    size: u64,
    progress: &mut dyn Progress,
) -> Result<(), SourceError> {
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(part)
        .map_err(SourceError::io(part))?;
    let mut transfer = Transfer {
        agent,
        url,
        file: &mut file,
        part,
        size,
    };
    let mut attempt = 1;
    loop {
        match transfer.run(progress) {
            Err(cut @ SourceError::Cut { .. }) if attempt < ATTEMPTS => {
                progress.note(&format!("{cut}; resuming"));
                std::thread::sleep(BACKOFF * attempt);
                attempt += 1;
            }
            result => return result,
        }
    }
}

struct Transfer<'a> {
    agent: &'a Agent,
    url: &'a str,
    file: &'a mut File,
    part: &'a Path,
    size: u64,
}

impl Transfer<'_> {
    fn run(&mut self, progress: &mut dyn Progress) -> Result<(), SourceError> {
        let mut start = self
            .file
            .seek(SeekFrom::End(0))
            .map_err(SourceError::io(self.part))?;
        if start > self.size {
            start = self.restart()?;
        }
        if start == self.size {
            return Ok(());
        }
        let mut request = self
            .agent
            .get(self.url)
            .header(header::ACCEPT_ENCODING, "identity");
        if start > 0 {
            request = request.header(header::RANGE, format!("bytes={start}-"));
        }
        let response = request.call().map_err(unreachable(self.url))?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if continues(&response, start) => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE if start > 0 => {
                self.restart()?;
                return Err(self.cut(0, "the server refused to resume".to_owned()));
            }
            // The server ignores ranges and sends everything from the beginning.
            StatusCode::OK => start = self.restart()?,
            status => {
                return Err(SourceError::Status {
                    url: shown(self.url),
                    status: status.as_u16(),
                });
            }
        }
        let announced = response
            .body()
            .content_length()
            .map(|length| start.saturating_add(length));
        if let Some(found) = announced.filter(|&found| found != self.size) {
            return Err(SourceError::WrongSize {
                expected: self.size,
                found,
            });
        }
        self.copy(response.into_body().into_reader(), start, progress)
    }

    fn copy(
        &mut self,
        mut body: impl Read,
        mut received: u64,
        progress: &mut dyn Progress,
    ) -> Result<(), SourceError> {
        let mut buffer = vec![0; BUFFER];
        loop {
            progress.update(received);
            let n = match body.read(&mut buffer) {
                Ok(0) if received == self.size => return Ok(()),
                Ok(0) => return Err(self.cut(received, "the connection was closed".to_owned())),
                Ok(n) => n,
                Err(error) => return Err(self.cut(received, error.to_string())),
            };
            received += n as u64;
            if received > self.size {
                self.restart()?;
                return Err(SourceError::WrongSize {
                    expected: self.size,
                    found: received,
                });
            }
            self.file
                .write_all(&buffer[..n])
                .map_err(SourceError::io(self.part))?;
        }
    }

    fn restart(&mut self) -> Result<u64, SourceError> {
        self.file.set_len(0).map_err(SourceError::io(self.part))?;
        self.file
            .seek(SeekFrom::Start(0))
            .map_err(SourceError::io(self.part))
    }

    fn cut(&self, received: u64, reason: String) -> SourceError {
        SourceError::Cut {
            url: shown(self.url),
            received,
            size: self.size,
            reason,
        }
    }
}

fn continues(response: &Response<Body>, start: u64) -> bool {
    let range = response
        .headers()
        .get(header::CONTENT_RANGE)
        .and_then(|value| value.to_str().ok());
    response.status() == StatusCode::PARTIAL_CONTENT
        && range.is_some_and(|range| range.starts_with(&format!("bytes {start}-")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_seen_only_before_the_first_slash() {
        assert!(has_credentials("https://user:pw@host/simple"));
        assert!(!has_credentials("https://host/simple/@x"));
    }

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        assert_eq!(
            shown("https://user:pw@host:1/a/b?token=x#y"),
            "https://host:1/a/b"
        );
        assert_eq!(shown("http://host"), "http://host");
    }
}
