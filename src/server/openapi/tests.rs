//! The description is the one in the docs, has every route, and is itself valid.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value;

use super::JSON;
use super::routes::ROUTES;

#[test]
fn the_description_in_the_docs_is_the_one_that_is_served() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let written = format!("{}\n", *JSON);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &written).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == written,
        "docs/openapi.json is out of date: run it with UPDATE_DOCS=1"
    );
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let router = include_str!("../router.rs");
    let routes = router.split(".route(\"").skip(1);
    let routed: BTreeSet<(String, String)> = routes
        .map(|rest| {
            let (path, rest) = rest.split_once('"').unwrap();
            let method = rest.trim_start_matches([',', ' ', '\n']);
            (method[..method.find('(').unwrap()].into(), path.into())
        })
        .collect();
    let described = ROUTES.iter();
    let described: BTreeSet<(String, String)> = described
        .map(|route| (route.method.into(), route.path.into()))
        .collect();
    assert_eq!(routed, described);
}

#[test]
fn references_lead_somewhere_and_schemas_are_schemas() {
    let document: Value = serde_json::from_str(&JSON).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"));
    for (at, _) in JSON.match_indices("\"$ref\": \"#") {
        let pointer = JSON[at + 10..].split('"').next().unwrap();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        assert!(jsonschema::meta::is_valid(schema), "{name}");
    }
}
