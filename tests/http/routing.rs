//! Requests that leave their model open: rules on what they need pick one, which answers, logs and metrics say.

use std::io::{self, Write};
use std::time::Duration;

use flambeau::gateway::{Conditions, Language, Router, Rule, StaticTexts};
use flambeau::server::{Candidate, Routing};
use flambeau::telemetry::RequestLog;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::client::{Reply, within};
use super::gate::Act;
use super::redact::data;
use super::server::{CHAT, COMPLETIONS, Server, Setup, VOCAB_SIZE};

const OTHER: &str = "other";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
/// Longer than what goes to `test`.
const LONG: &str = "a prompt that is longer than twenty tokens";
const GERMAN: &str = "Schreibe mir eine kurze E-Mail an meinen Vermieter, in der ich um die Reparatur der Heizung bitte. Sie ist seit drei Tagen ausgefallen.";

fn rule(name: &str, model: usize, when: Conditions) -> Rule {
    Rule {
        name: name.into(),
        model,
        when,
    }
}

/// Forms and short prompts go to `test`, which costs a quarter of `other`, the default; a third model costs what nobody says.
fn routing(setup: &mut Setup, is_shadow: bool, default: usize) {
    let structured = Conditions {
        structured: Some(true),
        ..Conditions::default()
    };
    let german = Conditions {
        languages: Some(Language::of_code("de").into_iter().collect()),
        ..Conditions::default()
    };
    let short = Conditions {
        tools: Some(false),
        max_prompt_tokens: Some(20),
        ..Conditions::default()
    };
    let rules = vec![
        rule("structured", 0, structured),
        rule("german", 0, german),
        rule("short", 0, short),
    ];
    let candidate = |name: &str, cost: Option<f64>, quality: Option<f64>| Candidate {
        name: name.into(),
        cost,
        quality,
    };
    let candidates = [
        candidate("test", Some(50_000.0), Some(0.5)),
        candidate(OTHER, Some(200_000.0), Some(0.75)),
        candidate("remote", None, None),
    ];
    setup.routing = Some(Box::new(move |telemetry| {
        let router = Router::new(rules, default);
        Routing::new("auto".into(), is_shadow, router, &candidates, telemetry)
    }));
}

fn setup(is_shadow: bool) -> Setup {
    let mut setup = Setup::fake(VOCAB_SIZE);
    setup.echo_too = Some(OTHER);
    routing(&mut setup, is_shadow, 1);
    setup
}

/// The lines of a request log.
struct Lines(UnboundedSender<Value>);

impl Write for Lines {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        // Nobody may be reading any more.
        let _ = self.0.send(serde_json::from_slice(line)?);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What the request log says, line by line.
pub fn logged(setup: &mut Setup) -> UnboundedReceiver<Value> {
    let (sender, lines) = unbounded_channel();
    setup.options.request_log = RequestLog::to(Lines(sender)).unwrap();
    lines
}

fn with(mut body: Value, more: Value) -> Value {
    let (fields, more) = (body.as_object_mut().unwrap(), more.as_object().unwrap());
    fields.extend(more.clone());
    body
}

fn completion(more: Value) -> Value {
    let body = json!({"model": "auto", "prompt": "abcd", "max_tokens": 4, "temperature": 0});
    with(body, more)
}

/// A request of each endpoint that says `text`.
fn of_each(text: &str) -> [(&'static str, Value); 4] {
    let messages = json!([{"role": "user", "content": text}]);
    [
        (
            CHAT,
            json!({"model": "auto", "messages": messages, "max_tokens": 4}),
        ),
        (COMPLETIONS, completion(json!({"prompt": text}))),
        (
            RESPONSES,
            json!({"model": "auto", "input": text, "max_output_tokens": 4}),
        ),
        (
            MESSAGES,
            json!({"model": "auto", "messages": messages, "max_tokens": 4}),
        ),
    ]
}

fn assert_routed(reply: &Reply, route: &str, model: &str) {
    assert_eq!(reply.status(), 200, "{}", reply.text());
    assert_eq!(reply.head.header("x-flambeau-route"), Some(route));
    assert_eq!(reply.head.header("x-flambeau-tier"), Some("primary"));
    let body = reply.json();
    assert_eq!(body["model"], model);
    assert_eq!(body["flambeau"]["route"], route);
}

fn routed(route: &str, model: &str, mode: &str) -> String {
    format!(r#"flambeau_routed_total{{route="{route}",model="{model}",mode="{mode}"}}"#)
}

fn sum(name: &str, model: &str, mode: &str) -> String {
    format!(r#"flambeau_routing_{name}{{model="{model}",mode="{mode}"}}"#)
}

#[tokio::test]
async fn every_endpoint_is_routed_which_answers_the_log_and_metrics_say() {
    let mut setup = setup(false);
    let mut log = logged(&mut setup);
    let server = setup.start().await;
    for (text, route, model) in [("abcd", "short", "test"), (LONG, "default", OTHER)] {
        for (path, body) in of_each(text) {
            assert_routed(&server.post(path, body).await, route, model);
            let line = within(log.recv()).await.unwrap();
            assert_eq!(
                (&line["route"], &line["model"]),
                (&json!(route), &json!(model))
            );
            assert_eq!(line["route_shadow"], Value::Null);
        }
        assert_eq!(server.metric(&routed(route, model, "on")).await, 4.0);
    }
    assert_eq!(
        server.metric(&routed("structured", "test", "on")).await,
        0.0
    );
}

#[tokio::test]
async fn streams_are_routed_and_say_so_before_their_first_token() {
    let server = setup(false).start().await;
    for (text, route, model) in [("abcd", "short", "test"), (LONG, "default", OTHER)] {
        for (path, body) in of_each(text) {
            let body = with(body, json!({"stream": true}));
            let mut client = server.send("POST", path, &body.to_string()).await;
            let head = client.head().await.unwrap();
            assert_eq!(head.header("x-flambeau-route"), Some(route), "{path}");
            let events = client.events().await.unwrap();
            super::described::check_events(path, &events);
            let all: Vec<Value> = events
                .iter()
                .flat_map(|event| event.lines())
                .filter_map(data)
                .collect();
            let places = ["", "/message", "/response"];
            let found = |key: &str| {
                let find = |event: &Value| {
                    places
                        .iter()
                        .find_map(|place| event.pointer(&format!("{place}{key}")).cloned())
                };
                all.iter().find_map(find)
            };
            assert_eq!(
                found("/flambeau/route"),
                Some(json!(route)),
                "{path}: {events:?}"
            );
            assert_eq!(found("/model"), Some(json!(model)), "{path}: {events:?}");
        }
    }
}

#[tokio::test]
async fn in_shadow_the_default_model_answers_and_what_would_have_been_picked_is_recorded() {
    let mut setup = setup(true);
    let mut log = logged(&mut setup);
    let server = setup.start().await;
    for (path, body) in of_each("abcd") {
        assert_routed(&server.post(path, body).await, "default", OTHER);
        let line = within(log.recv()).await.unwrap();
        assert_eq!(
            (&line["route"], &line["model"]),
            (&json!("default"), &json!(OTHER))
        );
        assert_eq!(
            line["route_shadow"],
            json!({"route": "short", "model": "test"})
        );
    }
    server
        .post(COMPLETIONS, completion(json!({"prompt": LONG})))
        .await;
    let line = within(log.recv()).await.unwrap();
    assert_eq!(
        line["route_shadow"],
        json!({"route": "default", "model": OTHER})
    );
    assert_eq!(server.metric(&routed("short", "test", "shadow")).await, 4.0);
    assert_eq!(
        server.metric(&routed("default", OTHER, "shadow")).await,
        1.0
    );
    assert_eq!(
        server.metric(&sum("quality_lost", "test", "shadow")).await,
        1.0
    );
    assert!(server.metric(&sum("cost_saved", "test", "shadow")).await > 0.0);
    assert_eq!(
        server.metric(&sum("cost_saved", OTHER, "shadow")).await,
        0.0
    );
    let metrics = server.get("/metrics").await;
    assert!(
        !metrics.text().contains(r#"mode="on""#),
        "{}",
        metrics.text()
    );
}

#[tokio::test]
async fn each_feature_is_read_from_the_fields_that_have_it() {
    let server = setup(false).start().await;
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}}, "required": ["ok"], "additionalProperties": false});
    let own = json!({"type": "json_schema", "name": "x", "schema": schema});
    let wrapped = json!({"type": "json_schema", "json_schema": {"name": "x", "schema": schema}});
    let [chat, completion, response, message] = of_each(LONG).map(|(_, body)| body);
    let tool =
        json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}});
    let [short, ..] = of_each("abcd").map(|(_, body)| body);
    for (path, body, more, route) in [
        (
            CHAT,
            &chat,
            json!({"response_format": wrapped}),
            "structured",
        ),
        (
            COMPLETIONS,
            &completion,
            json!({"guided_regex": "a+"}),
            "structured",
        ),
        (
            RESPONSES,
            &response,
            json!({"text": {"format": own}}),
            "structured",
        ),
        (
            MESSAGES,
            &message,
            json!({"output_config": {"format": {"type": "json_schema", "schema": schema}}}),
            "structured",
        ),
        (
            CHAT,
            &chat,
            json!({"response_format": {"type": "text"}}),
            "default",
        ),
        (CHAT, &short, json!({"tools": [tool]}), "default"),
        (
            CHAT,
            &short,
            json!({"tools": [tool], "tool_choice": "none"}),
            "short",
        ),
        (
            COMPLETIONS,
            &completion,
            json!({"prompt": GERMAN}),
            "german",
        ),
        (
            MESSAGES,
            &message,
            json!({"messages": [{"role": "user", "content": [{"type": "text", "text": GERMAN}]}]}),
            "german",
        ),
        (
            CHAT,
            &chat,
            json!({"messages": [{"role": "user", "content": GERMAN}, {"role": "assistant", "content": "Ja"}, {"role": "user", "content": LONG}]}),
            "default",
        ),
    ] {
        let model = if route == "default" { OTHER } else { "test" };
        assert_routed(
            &server.post(path, with(body.clone(), more)).await,
            route,
            model,
        );
    }
}

#[tokio::test]
async fn who_sends_ids_of_tokens_is_answered_by_the_default_model() {
    let server = setup(false).start().await;
    for more in [
        json!({"prompt": [1, 2]}),
        json!({"prompt": [[1], [2, 3]]}),
        json!({"stop_token_ids": [5]}),
        json!({"logit_bias": {"5": 1}}),
    ] {
        let reply = server.post(COMPLETIONS, completion(more)).await;
        assert_routed(&reply, "default", OTHER);
    }
}

#[tokio::test]
async fn who_names_a_model_an_adapter_or_none_is_never_routed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let mut setup = setup(false);
    let mut log = logged(&mut setup);
    let server = setup.start().await;
    let load = |name: &str| {
        let body = json!({"lora_name": name, "lora_path": path, "load_inplace": true});
        server.post("/v1/load_lora_adapter", body)
    };
    assert_eq!(load("sql").await.status(), 200);
    let refused = load("auto").await;
    assert_eq!(refused.status(), 400, "{}", refused.text());
    assert_eq!(refused.json()["error"]["param"], "lora_name");
    for (name, model) in [
        (json!("test"), "test"),
        (json!("test-alias"), "test"),
        (json!(OTHER), OTHER),
        (json!("sql"), "sql"),
        (json!(null), "test"),
    ] {
        let reply = server
            .post(COMPLETIONS, completion(json!({"model": name})))
            .await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        assert_eq!(reply.head.header("x-flambeau-route"), None);
        assert_eq!(reply.json()["model"], model);
        assert!(reply.json()["flambeau"].get("route").is_none());
        let line = within(log.recv()).await.unwrap();
        assert_eq!(
            (&line["route"], &line["route_shadow"]),
            (&Value::Null, &Value::Null)
        );
    }
    for (route, model) in [("short", "test"), ("default", OTHER)] {
        assert_eq!(server.metric(&routed(route, model, "on")).await, 0.0);
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_request_is_said_as_if_it_were_not_routed() {
    let server = setup(false).start().await;
    let message = |content: Value| json!({"messages": [{"role": "user", "content": content}]});
    for (path, more) in [
        (CHAT, json!({"messages": 5})),
        (CHAT, json!({"messages": [5]})),
        (CHAT, json!({"messages": []})),
        (CHAT, message(json!(7))),
        (CHAT, message(json!([{"type": "text", "text": 7}]))),
        (CHAT, json!({"tools": "f"})),
        (CHAT, json!({"tools": [5]})),
        (CHAT, json!({"response_format": [1]})),
        (CHAT, json!({"response_format": {"type": 1}})),
        (CHAT, json!({"structured_outputs": 3})),
        (CHAT, json!({"temperature": "hot"})),
        (COMPLETIONS, json!({"prompt": 5})),
        (COMPLETIONS, json!({"prompt": {}})),
        (COMPLETIONS, json!({"prompt": null})),
        (COMPLETIONS, json!({"prompt": ["a", 5]})),
        (COMPLETIONS, json!({"prompt": [-1]})),
        (COMPLETIONS, json!({"prompt": ""})),
        (COMPLETIONS, json!({"guided_choice": 5})),
        (COMPLETIONS, json!({"logit_bias": 5})),
        (RESPONSES, json!({"input": 5})),
        (RESPONSES, json!({"text": 5})),
        (MESSAGES, json!({"messages": 5})),
        (MESSAGES, message(json!(7))),
        (MESSAGES, json!({"tools": 5})),
    ] {
        let body = |model: &str| {
            let [chat, completion, response, message] = of_each("abcd").map(|(_, body)| body);
            let body = match path {
                CHAT => chat,
                COMPLETIONS => completion,
                RESPONSES => response,
                _ => message,
            };
            with(with(body, more.clone()), json!({"model": model}))
        };
        let (open, named) = (
            server.post(path, body("auto")).await,
            server.post(path, body(OTHER)).await,
        );
        assert_eq!(named.status(), 400, "{path} {more}: {}", named.text());
        assert_eq!(
            (open.status(), open.text()),
            (400, named.text()),
            "{path} {more}"
        );
    }
    for model in [json!(5), json!(["auto"]), json!({"auto": 1})] {
        let reply = server
            .post(COMPLETIONS, completion(json!({"model": model})))
            .await;
        assert_eq!(reply.status(), 400, "{model}");
        assert_eq!(reply.json()["error"]["param"], "model");
    }
}

#[tokio::test]
async fn what_an_answer_saves_and_loses_is_summed_by_model() {
    let server = setup(false).start().await;
    for (path, body) in of_each("abcd") {
        server.post(path, body).await;
    }
    let tokens = |model: &str| {
        let name = ["prompt", "generation"];
        name.map(|name| format!(r#"flambeau_{name}_tokens_total{{model="{model}"}}"#))
    };
    let [prompt, generated] = tokens("test");
    let num_tokens = server.metric(&prompt).await + server.metric(&generated).await;
    assert!(num_tokens > 0.0);
    let saved = server.metric(&sum("cost_saved", "test", "on")).await;
    assert!(
        (saved - num_tokens * 0.15).abs() < 1e-9,
        "{saved} of {num_tokens} tokens"
    );
    assert_eq!(server.metric(&sum("quality_lost", "test", "on")).await, 1.0);
    server
        .post(COMPLETIONS, completion(json!({"prompt": LONG})))
        .await;
    for name in ["cost_saved", "quality_lost"] {
        assert_eq!(server.metric(&sum(name, OTHER, "on")).await, 0.0);
    }
}

#[tokio::test]
async fn a_dearer_model_saves_less_than_nothing_and_an_answer_that_is_left_loses_no_quality() {
    let (mut setup, mut gate) = Setup::gated();
    setup.echo_too = Some(OTHER);
    let dear = |name: &str, cost: f64, quality: f64| Candidate {
        name: name.into(),
        cost: Some(cost),
        quality: Some(quality),
    };
    let candidates = [dear("test", 3e6, 0.75), dear(OTHER, 1e6, 1.0)];
    let rules = vec![rule(
        "all",
        0,
        Conditions {
            tools: Some(false),
            ..Conditions::default()
        },
    )];
    setup.routing = Some(Box::new(move |telemetry| {
        Routing::new(
            "auto".into(),
            false,
            Router::new(rules, 1),
            &candidates,
            telemetry,
        )
    }));
    let server = setup.start().await;
    let body = completion(json!({"stream": true, "max_tokens": 100, "ignore_eos": true}));
    let mut client = server.send("POST", COMPLETIONS, &body.to_string()).await;
    gate.begun().await;
    gate.decide(Act::Go);
    client.head().await.unwrap();
    client.event().await.unwrap();
    drop(client);
    drop(gate);
    server.until(&Server::outcome("cancelled"), 1.0).await;
    let saved = server.metric(&sum("cost_saved", "test", "on")).await;
    // The prompt's four tokens and one at least.
    assert!(saved <= -10.0, "{saved}");
    assert_eq!(server.metric(&sum("quality_lost", "test", "on")).await, 0.0);
    server.post(COMPLETIONS, completion(json!({}))).await;
    assert_eq!(
        server.metric(&sum("quality_lost", "test", "on")).await,
        0.25
    );
    assert_eq!(
        server.metric(&sum("cost_saved", "test", "on")).await,
        saved - 16.0
    );
}

#[tokio::test]
async fn what_a_tier_gives_in_the_place_of_the_picked_model_saves_nothing() {
    let (mut setup, mut gate) = Setup::gated();
    setup.echo_too = Some(OTHER);
    setup.tiers = Some((Duration::from_secs(20), StaticTexts::default()));
    setup.policy.fallback = true;
    setup.engine.scheduler.max_num_seqs = 1;
    setup.engine.max_waiting = 0;
    routing(&mut setup, false, 1);
    let server = setup.start().await;
    let held = json!({"prompt": "ab", "max_tokens": 500, "ignore_eos": true, "fallback": false});
    let mut held = server.send("POST", COMPLETIONS, &held.to_string()).await;
    gate.begun().await;
    let reply = server.post(COMPLETIONS, completion(json!({}))).await;
    assert_eq!(reply.head.header("x-flambeau-route"), Some("short"));
    assert_eq!(reply.head.header("x-flambeau-tier"), Some("fallback"));
    assert_eq!(reply.json()["model"], OTHER);
    assert_eq!(server.metric(&routed("short", "test", "on")).await, 1.0);
    for name in ["cost_saved", "quality_lost"] {
        assert_eq!(server.metric(&sum(name, "test", "on")).await, 0.0);
    }
    drop(gate);
    held.reply().await.unwrap();
}

#[tokio::test]
async fn a_model_of_another_server_can_be_picked_and_its_tokens_be_counted() {
    let upstream = Setup::echo().start().await;
    let mut setup = Setup::fake(VOCAB_SIZE);
    setup.echo_too = Some(OTHER);
    setup.remote = Some(super::remote_models::at(&upstream));
    let rules = vec![rule(
        "tiny",
        2,
        Conditions {
            max_complexity: Some(0.1),
            ..Conditions::default()
        },
    )];
    let candidate = |name: &str, cost: f64| Candidate {
        name: name.into(),
        cost: Some(cost),
        quality: None,
    };
    let candidates = [
        candidate("test", 3e6),
        candidate(OTHER, 0.0),
        candidate("remote", 2e6),
    ];
    setup.routing = Some(Box::new(move |telemetry| {
        Routing::new(
            "auto".into(),
            false,
            Router::new(rules, 0),
            &candidates,
            telemetry,
        )
    }));
    let server = setup.start().await;
    for stream in [false, true] {
        let body = completion(json!({"stream": stream}));
        let mut client = server.send("POST", COMPLETIONS, &body.to_string()).await;
        let reply = client.reply().await.unwrap();
        assert_eq!(reply.head.header("x-flambeau-route"), Some("tiny"));
        assert!(
            reply.text().contains(r#""model":"remote""#),
            "{}",
            reply.text()
        );
    }
    server.until(&sum("cost_saved", "remote", "on"), 16.0).await;
    // Nobody says how good it is.
    let metrics = server.get("/metrics").await;
    assert!(
        !metrics.text().contains("quality_lost"),
        "{}",
        metrics.text()
    );
    let long = completion(json!({"prompt": LONG.repeat(10)}));
    assert_routed(&server.post(COMPLETIONS, long).await, "default", "test");
}

#[tokio::test]
async fn the_name_is_listed_and_counts_tokens_as_the_default_model_does_or_the_first() {
    // The default is of this process, or of another server.
    let upstream = Setup::echo().start().await;
    for (default, counts) in [(1, OTHER), (2, "test")] {
        let mut setup = Setup::fake(VOCAB_SIZE);
        setup.echo_too = Some(OTHER);
        setup.remote = Some(super::remote_models::at(&upstream));
        routing(&mut setup, false, default);
        let server = setup.start().await;
        let listed = server.get("/v1/models").await.json();
        let ids = listed["data"].as_array().unwrap().iter();
        let ids: Vec<&str> = ids.map(|model| model["id"].as_str().unwrap()).collect();
        assert_eq!(ids, ["test", OTHER, "remote", "auto"]);
        for (path, body) in [
            ("/tokenize", json!({"prompt": "abc"})),
            (
                "/tokenize",
                json!({"messages": [{"role": "user", "content": "abc"}]}),
            ),
            ("/detokenize", json!({"tokens": [1, 2]})),
            (
                "/v1/messages/count_tokens",
                json!({"messages": [{"role": "user", "content": "abc"}]}),
            ),
        ] {
            let ask = |model: &str| server.post(path, with(body.clone(), json!({"model": model})));
            let (open, named) = (ask("auto").await, ask(counts).await);
            assert_eq!((open.status(), open.text()), (200, named.text()), "{path}");
        }
    }
}
