//! Which files are opened, and how they lie on the disk.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rusqlite::Connection;

use super::*;
use crate::store::open;
use crate::store::tests::{files, read, record};

#[test]
fn a_file_and_its_log_are_their_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let modes = || -> Vec<u32> {
        let paths = files(folder.path()).into_keys();
        let mode = |path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        paths.map(mode).collect()
    };
    let mut store = plain(&path).unwrap();
    store.put(&[record(1, 10)]).unwrap();
    assert_eq!(modes(), [0o600, 0o600]);
    drop(store);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let mut store = plain(&path).unwrap();
    store.put(&[record(2, 10)]).unwrap();
    assert_eq!(modes(), [0o600, 0o600]);
}

#[test]
fn a_store_that_is_open_is_not_opened_again_before_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    for _ in ["new", "made"] {
        let mut store = plain(&path).unwrap();
        let error = plain(&path).unwrap_err();
        assert!(matches!(error, StoreError::InUse { .. }), "{error:?}");
        assert!(error.to_string().contains("another file"), "{error}");
        store.put(&[record(1, 10)]).unwrap();
        assert!(plain(&path).is_err());
        drop(store);
    }
    assert_eq!(
        read(&mut plain(&path).unwrap()).unwrap(),
        (vec![record(1, 10)], 0)
    );
}

#[test]
fn what_is_no_store_is_refused_by_name_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("text"), "[[models]]\nname = \"primary\"\n").unwrap();
    fs::write(at("byte"), "S").unwrap();
    fs::write(at("zeros"), [0; 8192]).unwrap();
    let others = Connection::open(at("others")).unwrap();
    others.execute_batch("CREATE TABLE t (a)").unwrap();
    drop(others);
    let before = files(folder.path());
    for name in ["text", "byte", "zeros", "others"] {
        let error = plain(&at(name)).unwrap_err();
        assert!(
            matches!(error, StoreError::Foreign { .. }),
            "{name}: {error:?}"
        );
        assert!(error.to_string().contains(name), "{error}");
    }
    assert_eq!(files(folder.path()), before);
    fs::create_dir(at("folder")).unwrap();
    let error = plain(&at("folder")).unwrap_err();
    assert!(matches!(error, StoreError::Foreign { .. }), "{error:?}");
    let error = plain(&at("missing/store")).unwrap_err();
    assert!(matches!(error, StoreError::Open { .. }), "{error:?}");
    assert!(error.to_string().contains("missing/store"), "{error}");
}

#[test]
fn a_newer_format_and_other_tables_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let change = |sql: &str| {
        fs::remove_file(&path).unwrap_or(());
        drop(plain(&path).unwrap());
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        plain(&path).unwrap_err()
    };
    let error = change("PRAGMA user_version = 2");
    assert!(
        matches!(
            error,
            StoreError::Format {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
    for sql in [
        "CREATE TRIGGER t AFTER INSERT ON records BEGIN DELETE FROM records; END",
        "ALTER TABLE records ADD COLUMN more TEXT",
        "DROP TABLE records",
        "DELETE FROM store",
        "UPDATE store SET mark = x'00'",
        "UPDATE store SET mark = zeroblob(32)",
    ] {
        let error = change(sql);
        assert!(
            matches!(error, StoreError::Damaged { .. }),
            "{sql}: {error:?}"
        );
    }
}

#[test]
fn names_that_mean_something_to_sqlite_are_files_like_any_other() {
    let folder = tempfile::tempdir().unwrap();
    for name in [":memory:", "file:x?mode=memory", "ä ö%20#?", "'; --"] {
        let path = folder.path().join(name);
        plain(&path).unwrap().put(&[record(1, 10)]).unwrap();
        assert!(path.is_file());
        assert_eq!(read(&mut plain(&path).unwrap()).unwrap().0.len(), 1);
    }
}

#[test]
fn an_empty_file_is_a_new_store_unless_it_has_a_log() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    fs::write(&path, "").unwrap();
    assert_eq!(read(&mut *open(&path, None).unwrap()).unwrap(), (vec![], 0));
    for is_there in [true, false] {
        fs::write(&path, "").unwrap();
        fs::write(folder.path().join("store-wal"), "log").unwrap();
        if !is_there {
            fs::remove_file(&path).unwrap();
        }
        let before = files(folder.path());
        let error = plain(&path).unwrap_err();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
        assert_eq!(files(folder.path()), before);
    }
}
