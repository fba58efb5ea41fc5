//! What operators ask of the caches of answers, who may ask it, and what tenants see of each other.

use std::collections::HashMap;

use flambeau::gateway::{Policy, SemanticMode};
use flambeau::server::{ApiKey, SemanticRules};
use serde_json::{Value, json};

use super::client::{Reply, within};
use super::served_answers::{ALIKE, ASKED, SAME, asks, serving, unchecked, with};
use super::server::{CHAT, COMPLETIONS, Server, Setup};

/// Tenants `a` and `b`, who see what the caches had, `c`, who does not, and an administrator.
fn keyed() -> Setup {
    let mut setup = serving(unchecked());
    setup.keeps_answers = true;
    let keys = ["a", "b", "c", "admin"];
    setup.options.api_keys = keys
        .map(|name| ApiKey::new(name, &format!("key-{name}")))
        .into();
    let policy = |name: &str| Policy {
        sees_cache: name != "c",
        is_admin: name == "admin",
        ..Policy::default()
    };
    setup.tenants = HashMap::from(keys.map(|name| (name.to_owned(), policy(name))));
    setup
}

async fn send(server: &Server, who: &str, method: &str, path: &str, body: &Value) -> Reply {
    let mut client = server.connect().await;
    let key = format!("Bearer key-{who}");
    let headers = [("authorization", key.as_str())];
    let body = if method == "GET" {
        String::new()
    } else {
        body.to_string()
    };
    client
        .send(method, path, &headers, body.as_bytes())
        .await
        .unwrap();
    client.reply().await.unwrap()
}

async fn ask(server: &Server, who: &str, body: &Value) -> String {
    let reply = send(server, who, "POST", COMPLETIONS, body).await;
    assert_eq!(reply.status(), 200, "{}", reply.text());
    reply
        .head
        .header("x-flambeau-cache")
        .unwrap_or("hidden")
        .to_owned()
}

#[tokio::test]
async fn a_tenant_is_given_its_own_answers_and_those_that_an_administrator_shares() {
    let server = keyed().start().await;
    ask(&server, "a", &asks(ASKED)).await;
    assert_ne!(ask(&server, "b", &asks(SAME)).await, "semantic");
    assert_eq!(ask(&server, "a", &asks(SAME)).await, "semantic");
    let other = "Where is the lamp of Rome?";
    ask(&server, "a", &asks(other)).await;
    let share = json!({"tenant": "a", "request": asks(other)});
    let path = "/admin/cache/share";
    assert_eq!(send(&server, "b", "POST", path, &share).await.status(), 403);
    let none = json!({"tenant": "b", "request": asks(other)});
    assert_eq!(
        send(&server, "admin", "POST", path, &none).await.status(),
        404
    );
    let asked = "where is the lamp of Rome, please?";
    assert_ne!(ask(&server, "b", &asks(asked)).await, "semantic");
    send(
        &server,
        "admin",
        "POST",
        "/admin/cache/purge",
        &json!({"tenant": "b"}),
    )
    .await;
    let shared = send(&server, "admin", "POST", path, &share).await;
    assert_eq!(shared.json(), json!({"shared": true}), "{}", shared.text());
    assert_eq!(ask(&server, "b", &asks(asked)).await, "semantic");
    // In another context it is nobody's.
    let elsewhere = with(asks(asked), &json!({"max_tokens": 99}));
    assert_ne!(ask(&server, "b", &elsewhere).await, "semantic");
    let gone = send(
        &server,
        "admin",
        "POST",
        "/admin/cache/purge",
        &json!({"shared": true}),
    )
    .await;
    assert_eq!(gone.json()["num_answers"], 1);
}

#[tokio::test]
async fn who_may_not_know_what_the_caches_had_is_answered_as_by_the_model() {
    let server = keyed().start().await;
    for body in [asks(ASKED), asks(ASKED), asks(SAME)] {
        let reply = send(&server, "c", "POST", COMPLETIONS, &body).await;
        assert_eq!(reply.head.header("x-flambeau-cache"), None);
        assert_eq!(reply.head.header("x-flambeau-tier"), Some("primary"));
        let told = reply.json();
        assert_eq!(told["flambeau"]["tier"], "primary");
        assert_eq!(told["flambeau"].get("cache"), None);
        assert_ne!(told["flambeau"]["prefill_ms"], 0.0);
        assert_eq!(told["usage"]["prompt_tokens_details"]["cached_tokens"], 0);
    }
    let stats = send(&server, "admin", "GET", "/admin/cache", &json!({}))
        .await
        .json();
    assert_eq!(stats["exact"]["models"]["test"]["hits"], 1);
    assert_eq!(stats["semantic"]["models"]["test"]["served_same"], 1);
    let explain = json!({"request": asks(ASKED)});
    assert_eq!(
        send(&server, "c", "POST", "/admin/cache/explain", &explain)
            .await
            .status(),
        403
    );
}

#[tokio::test]
async fn what_is_chosen_is_forgotten_on_all_levels_and_by_nobody_else_than_its_tenant() {
    let folder = tempfile::tempdir().unwrap();
    let mut setup = keyed();
    setup.remembers_in = Some(folder.path().join("answers.db"));
    let server = setup.start().await;
    let purge = "/admin/cache/purge";
    let of = |user: &str, documents: &str| {
        with(
            asks(ASKED),
            &json!({"user": user, "metadata": {"documents": documents}}),
        )
    };
    for who in ["a", "b"] {
        ask(&server, who, &of("u", "x,y")).await;
        ask(&server, who, &of("v", "z")).await;
    }
    let all = send(&server, "a", "POST", purge, &json!({})).await;
    assert_eq!(all.status(), 400, "{}", all.text());
    assert_eq!(
        send(&server, "a", "POST", purge, &json!({"tenant": "b"}))
            .await
            .status(),
        403
    );
    let typo = send(&server, "a", "POST", purge, &json!({"usr": "u"})).await;
    assert!(
        typo.status() == 400 && typo.text().contains("usr"),
        "{}",
        typo.text()
    );
    let gone = send(&server, "a", "POST", purge, &json!({"user": "u"})).await;
    assert_eq!(gone.json()["num_answers"], 2);
    for (who, body, found) in [
        ("a", of("u", "x,y"), "prefix"),
        ("a", of("v", "z"), "exact"),
        ("b", of("u", "x,y"), "exact"),
    ] {
        assert_eq!(ask(&server, who, &body).await, found, "{who} {body}");
    }
    let gone = send(&server, "admin", "POST", purge, &json!({"document": "z"})).await;
    assert_eq!(gone.json()["num_answers"], 4);
    assert_eq!(ask(&server, "b", &of("v", "z")).await, "prefix");
    for (who, status) in [("a", 403), ("admin", 200)] {
        let reset = send(&server, who, "POST", "/admin/cache/reset", &json!({})).await;
        assert_eq!(reset.status(), status);
    }
    within(server.shut_down()).await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_forgotten_is_not_there_after_a_restart_either_nor_what_was_shared_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let server = async || {
        let mut setup = keyed();
        setup.remembers_in = Some(folder.path().join("answers.db"));
        setup.start().await
    };
    let first = server().await;
    let of = |user: &str, question: &str| with(asks(question), &json!({"user": user}));
    for (user, question) in [("u", ASKED), ("v", "Where is the lamp of Rome?")] {
        ask(&first, "a", &of(user, question)).await;
        let share = json!({"tenant": "a", "request": of(user, question)});
        let shared = send(&first, "admin", "POST", "/admin/cache/share", &share).await;
        assert_eq!(shared.status(), 200, "{}", shared.text());
    }
    let purge = json!({"user": "u"});
    let gone = send(&first, "a", "POST", "/admin/cache/purge", &purge).await;
    // At both levels, and what all share of it.
    assert_eq!(gone.json()["num_answers"], 3);
    within(first.shut_down()).await.unwrap().unwrap();
    let second = server().await;
    let stats = send(&second, "admin", "GET", "/admin/cache", &json!({}))
        .await
        .json();
    assert_eq!(stats["semantic"]["entries"], 2);
    assert_ne!(ask(&second, "b", &asks(SAME)).await, "semantic");
    let lamp = "where is the lamp of Rome, please?";
    assert_eq!(ask(&second, "b", &asks(lamp)).await, "semantic");
}

#[tokio::test]
async fn what_is_forgotten_while_it_is_answered_is_not_kept() {
    let (mut setup, mut gate) = Setup::fake(24).hold();
    let keyed = keyed();
    (setup.remembers, setup.serves) = (keyed.remembers, keyed.serves);
    (setup.options, setup.tenants) = (keyed.options, keyed.tenants);
    setup.keeps_answers = true;
    let server = setup.start().await;
    // Every token ends it.
    let ends: Vec<u32> = (0..24).collect();
    let messages =
        json!([{"role": "system", "content": "s"}, {"role": "user", "content": "the word"}]);
    let body = json!({"messages": messages, "stop_token_ids": ends, "temperature": 0, "user": "u"});
    let mut client = server.connect().await;
    let headers = [("authorization", "Bearer key-a")];
    let bytes = body.to_string();
    client
        .send("POST", CHAT, &headers, bytes.as_bytes())
        .await
        .unwrap();
    gate.begun().await;
    let purged = send(
        &server,
        "a",
        "POST",
        "/admin/cache/purge",
        &json!({"user": "u"}),
    )
    .await;
    assert_eq!(purged.json()["num_answers"], 0);
    drop(gate);
    assert_eq!(client.reply().await.unwrap().status(), 200);
    let entries = async || {
        let stats = send(&server, "admin", "GET", "/admin/cache", &json!({}))
            .await
            .json();
        ["exact", "semantic"].map(|level| stats[level]["entries"].clone())
    };
    assert_eq!(entries().await, [0, 0]);
    // What is asked since then is.
    assert_eq!(send(&server, "a", "POST", CHAT, &body).await.status(), 200);
    assert_eq!(entries().await, [1, 1]);
}

#[tokio::test]
async fn a_request_is_explained_and_nothing_changes_by_it() {
    let server = keyed().start().await;
    let explain = async |who: &str, body: Value| {
        let reply = send(&server, who, "POST", "/admin/cache/explain", &body).await;
        assert_eq!(reply.status(), 200, "{}", reply.text());
        reply.json()
    };
    let far = explain("a", json!({"request": asks(ASKED)})).await;
    assert_eq!(
        (&far["verdict"], &far["reason"]),
        (&json!("miss"), &json!("far"))
    );
    ask(&server, "a", &asks(ASKED)).await;
    assert_eq!(
        explain("a", json!({"request": asks(ASKED)})).await["verdict"],
        "exact"
    );
    let same = explain("a", json!({"request": asks(SAME)})).await;
    assert_eq!(
        (&same["verdict"], &same["likeness"]),
        (&json!("semantic"), &json!("same"))
    );
    let alike = explain("admin", json!({"tenant": "a", "request": asks(ALIKE)})).await;
    assert_eq!(alike["likeness"], "alike");
    assert_eq!(alike["verification"]["is_small"], true);
    let number = explain("a", json!({"request": asks("How can I delete 4 photos?")})).await;
    assert_eq!(number["reason"], "number");
    assert_eq!(number["candidates"][0]["question"], ASKED);
    assert_eq!(number["candidates"][0]["objection"], "number");
    for (request, reason) in [
        (with(asks(SAME), &json!({"temperature": 1})), "drawn"),
        (asks("What is new today?"), "time"),
        (with(asks(SAME), &json!({"cache": false})), "off"),
    ] {
        assert_eq!(
            explain("a", json!({"request": request})).await["reason"],
            reason
        );
    }
    let stats = send(&server, "admin", "GET", "/admin/cache", &json!({}))
        .await
        .json();
    let own = &stats["semantic"]["models"]["test"];
    assert_eq!(
        (&own["served_same"], &own["served_alike"]),
        (&json!(0), &json!(0))
    );
    assert_eq!(own["rejects"], json!({}));
    assert_eq!(stats["semantic"]["entries"], 1);
    for (body, says) in [
        (json!({}), "request"),
        (json!({"request": {}}), "request"),
        (json!({"request": {"prompt": 1}}), "request.prompt"),
        (json!({"request": {"prompt": "a", "modl": "b"}}), "modl"),
    ] {
        let reply = send(&server, "a", "POST", "/admin/cache/explain", &body).await;
        assert!(
            reply.status() == 400 && reply.text().contains(says),
            "{}",
            reply.text()
        );
    }
    let other = json!({"tenant": "b", "request": asks(ASKED)});
    assert_eq!(
        send(&server, "a", "POST", "/admin/cache/explain", &other)
            .await
            .status(),
        403
    );
}

#[tokio::test]
async fn where_answers_are_drafts_the_verdict_is_what_it_would_be() {
    let mut setup = serving(SemanticRules::default());
    setup.serves.mode = SemanticMode::Draft;
    let server = setup.start().await;
    server.post(COMPLETIONS, asks(ASKED)).await;
    let told = server
        .post("/admin/cache/explain", json!({"request": asks(SAME)}))
        .await
        .json();
    assert_eq!(
        (&told["mode"], &told["reason"]),
        (&json!("draft"), &json!("unscored"))
    );
}

/// What the engine did, by its counters.
async fn work(server: &Server) -> Vec<f64> {
    let text = send(server, "admin", "GET", "/metrics", &json!({})).await;
    let counters = [
        "flambeau_generation_tokens_total",
        "flambeau_prompt_tokens_total",
        "flambeau_prefix_cache_hits_total",
        "flambeau_answer_cache_hits_total",
        "flambeau_semantic_cache_served_total",
    ];
    let sum = |name: &str| {
        let lines = text.text().lines().filter(|line| line.starts_with(name));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        values.sum::<f64>()
    };
    counters.map(sum).to_vec()
}

#[tokio::test]
async fn what_others_have_asked_makes_no_difference_to_the_work_an_answer_takes() {
    let server = keyed().start().await;
    // Of one length, and with nothing in common that is cached.
    let (known, unknown) = ("How can I delete 3 photos??", "Where do we park the cars??");
    assert_eq!(known.len(), unknown.len());
    for question in [ASKED, SAME, ALIKE] {
        ask(&server, "a", &asks(question)).await;
    }
    let took = async |question: &str| {
        let before = work(&server).await;
        let found = ask(&server, "b", &asks(question)).await;
        let after = work(&server).await;
        let work: Vec<f64> = after.iter().zip(before).map(|(a, b)| a - b).collect();
        // Nothing is known to `b` of the next question either.
        send(
            &server,
            "admin",
            "POST",
            "/admin/cache/purge",
            &json!({"tenant": "b"}),
        )
        .await;
        (found, work)
    };
    let (found, of_known) = took(known).await;
    assert_eq!(found, "miss");
    assert_eq!(took(unknown).await, (found, of_known));
}

#[tokio::test]
async fn a_flood_of_questions_pushes_out_nobody_elses_answers() {
    let server = keyed().start().await;
    ask(&server, "a", &asks(ASKED)).await;
    for i in 0..1200 {
        ask(
            &server,
            "b",
            &asks(&format!("{i} lamps of room {i} are on?")),
        )
        .await;
    }
    let stats = send(&server, "admin", "GET", "/admin/cache", &json!({}))
        .await
        .json();
    for level in ["exact", "semantic"] {
        assert!(
            stats[level]["bytes"].as_u64().unwrap() <= 1 << 20,
            "{stats}"
        );
    }
    assert!(
        stats["semantic"]["entries"].as_u64().unwrap() < 1200,
        "{stats}"
    );
    assert_eq!(ask(&server, "a", &asks(ASKED)).await, "exact");
    assert_eq!(ask(&server, "a", &asks(SAME)).await, "semantic");
}
