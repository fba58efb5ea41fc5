//! Where a server is, by its URL.

use hyper::Uri;
use hyper::header::HeaderValue;

use super::error::SetupError;

/// A server's root.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub is_tls: bool,
    /// A name or an address, an IPv6 address without its brackets.
    pub host: String,
    pub port: u16,
    /// What the header `host` says.
    pub authority: HeaderValue,
    /// What stands before `/v1`; empty, or a path without a slash at its end.
    pub path_prefix: String,
}

impl Endpoint {
    /// Reads a URL, `http` or `https`, with or without the trailing `/v1`.
    pub fn parse(url: &str) -> Result<Self, SetupError> {
        // First of all: other messages repeat the URL.
        let (_, after_scheme) = url.split_once("://").unwrap_or(("", url));
        let authority = after_scheme.split(['/', '?', '#']).next();
        if authority.is_some_and(|authority| authority.contains('@')) {
            return Err(SetupError::Credentials);
        }
        if let Some((root, _)) = url.split_once('?') {
            return Err(SetupError::Query(root.to_owned()));
        }
        let uri: Uri = url.parse().map_err(|source| SetupError::NoUrl {
            url: url.to_owned(),
            source,
        })?;
        let (Some(authority), Some(host)) = (uri.authority(), uri.host()) else {
            return Err(SetupError::NoHost(url.to_owned()));
        };
        let (is_tls, default_port) = match uri.scheme_str() {
            Some("http") => (false, 80),
            Some("https") => (true, 443),
            other => {
                return Err(SetupError::Scheme {
                    url: url.to_owned(),
                    scheme: other.unwrap_or("missing").to_owned(),
                });
            }
        };
        let behind = authority.as_str().rsplit(']').next().unwrap_or_default();
        let port = behind.split_once(':').map_or("", |(_, port)| port);
        if !port.is_empty() && uri.port_u16().is_none() {
            return Err(SetupError::Port(url.to_owned()));
        }
        let path = uri.path().trim_end_matches('/');
        Ok(Self {
            is_tls,
            host: host
                .trim_start_matches('[')
                .trim_end_matches(']')
                .to_owned(),
            port: uri.port_u16().unwrap_or(default_port),
            authority: HeaderValue::from_str(authority.as_str())
                .expect("a URL's authority is visible ASCII: this is a bug"),
            path_prefix: path.strip_suffix("/v1").unwrap_or(path).to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_may_end_in_v1_and_have_a_path() {
        for (url, is_tls, host, port, path_prefix) in [
            ("http://127.0.0.1:8080", false, "127.0.0.1", 8080, ""),
            ("http://127.0.0.1", false, "127.0.0.1", 80, ""),
            ("http://127.0.0.1:8080/v1/", false, "127.0.0.1", 8080, ""),
            ("http://[::1]:9/team/v1", false, "::1", 9, "/team"),
            (
                "https://example.org/team/",
                true,
                "example.org",
                443,
                "/team",
            ),
        ] {
            let read = Endpoint::parse(url).unwrap();
            assert_eq!(
                (read.is_tls, &*read.host, read.port, &*read.path_prefix),
                (is_tls, host, port, path_prefix),
                "{url}"
            );
        }
    }

    #[test]
    fn what_is_no_servers_root_is_refused_and_says_why() {
        for (url, says) in [
            ("127.0.0.1:8080", "scheme"),
            ("/v1", "names no host"),
            ("ftp://127.0.0.1", "not http or https"),
            ("http://127.0.0.1/?a=b", "query"),
            ("http://a b", "no URL"),
        ] {
            let error = Endpoint::parse(url).unwrap_err().to_string();
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn a_secret_in_a_url_is_not_repeated() {
        for url in [
            "http://me:hush@127.0.0.1",
            "me:hush@127.0.0.1",
            "http://me:hu sh@127.0.0.1",
            "http://127.0.0.1/v1?key=hush",
        ] {
            let error = Endpoint::parse(url).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hu"), "{error:?}");
        }
    }
}
