//! LoRA adapters over HTTP: loaded, listed, named by requests, and let go while some run.

use serde_json::{Value, json};

use super::server::{CHAT, COMPLETIONS, Server, Setup};

const LOAD: &str = "/v1/load_lora_adapter";
const UNLOAD: &str = "/v1/unload_lora_adapter";

async fn names(server: &Server) -> Vec<String> {
    let reply = server.get("/v1/models").await;
    let list = reply.json()["data"].as_array().unwrap().clone();
    list.iter()
        .map(|entry| entry["id"].as_str().unwrap().to_owned())
        .collect()
}

fn body(value: Value) -> String {
    value.to_string()
}

#[tokio::test]
async fn an_adapter_is_a_model_of_its_own_from_its_loading_to_its_unloading() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let server = Setup::fake(128).start().await;
    let ask = body(json!({"model": "sql", "prompt": "a", "max_tokens": 2}));
    let reply = server.post(COMPLETIONS, &ask).await;
    assert_eq!(reply.status(), 404);
    assert_eq!(reply.json()["error"]["code"], "model_not_found");

    let load = body(json!({"lora_name": "sql", "lora_path": path}));
    assert_eq!(server.post(LOAD, &load).await.status(), 200);
    assert_eq!(names(&server).await, ["test", "sql"]);
    let list = server.get("/v1/models").await.json();
    assert_eq!(list["data"][1]["parent"], "test");
    assert_eq!(list["data"][1]["root"], path);
    let reply = server.post(COMPLETIONS, &ask).await;
    assert_eq!(reply.status(), 200);
    assert_eq!(reply.json()["model"], "sql");
    let base = body(json!({"model": "test", "prompt": "a", "max_tokens": 2}));
    assert_eq!(
        server.post(COMPLETIONS, &base).await.json()["model"],
        "test"
    );

    let unload = body(json!({"lora_name": "sql"}));
    assert_eq!(server.post(UNLOAD, &unload).await.status(), 200);
    assert_eq!(names(&server).await, ["test"]);
    assert_eq!(server.post(COMPLETIONS, &ask).await.status(), 404);
    assert_eq!(server.post(UNLOAD, &unload).await.status(), 404);
}

#[tokio::test]
async fn a_request_that_runs_keeps_its_adapter_when_that_is_unloaded() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let (setup, mut gate) = Setup::gated();
    let server = setup.start().await;
    let load = body(json!({"lora_name": "sql", "lora_path": path}));
    assert_eq!(server.post(LOAD, &load).await.status(), 200);
    let ask = json!({
        "model": "sql", "max_tokens": 5, "stream": true,
        "messages": [{"role": "user", "content": "a"}],
    });
    let mut open = server.send("POST", CHAT, &body(ask)).await;
    gate.begun().await;
    let unload = body(json!({"lora_name": "sql"}));
    assert_eq!(server.post(UNLOAD, &unload).await.status(), 200);
    drop(gate);
    assert_eq!(open.head().await.unwrap().status, 200);
    let events = open.events().await.unwrap();
    let text = events.concat();
    assert!(text.contains(r#""model":"sql""#), "{text}");
    assert!(text.contains(r#""finish_reason":"length""#), "{text}");
    assert_eq!(events.last().map(String::as_str), Some("data: [DONE]"));
}

#[tokio::test]
async fn what_cannot_be_loaded_is_refused_by_field_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    let server = Setup::fake(128).start().await;
    let load = body(json!({"lora_name": "sql", "lora_path": path}));
    assert_eq!(server.post(LOAD, &load).await.status(), 200);
    for (request, param) in [
        (
            json!({"lora_name": "new", "lora_path": "/nowhere"}),
            "lora_path",
        ),
        (json!({"lora_name": "sql", "lora_path": path}), "lora_name"),
        (json!({"lora_name": "test", "lora_path": path}), "lora_name"),
        (json!({"lora_name": "", "lora_path": path}), "lora_name"),
        (json!({"lora_path": path}), "lora_name"),
        (json!({"lora_name": "new"}), "lora_path"),
        (
            json!({"lora_name": "new", "lora_path": path, "lora": 1}),
            "lora",
        ),
    ] {
        let reply = server.post(LOAD, &body(request.clone())).await;
        assert_eq!(reply.status(), 400, "{request}");
        assert_eq!(reply.json()["error"]["param"], param, "{request}");
    }
    assert_eq!(names(&server).await, ["test", "sql"]);
    let again = body(json!({"lora_name": "sql", "lora_path": path, "load_inplace": true}));
    assert_eq!(server.post(LOAD, &again).await.status(), 200);
    assert_eq!(names(&server).await, ["test", "sql"]);
}
