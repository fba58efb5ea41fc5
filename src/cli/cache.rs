//! `flambeau cache`: what a running server keeps of answers.

use std::io::Read as _;
use std::time::Duration;

use anyhow::{Context as _, bail};
use bytes::Bytes;
use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::bench::resolve_key;
use crate::http::{HttpClient, HttpOptions, excerpt};

/// What a reply may have of bytes.
const MAX_REPLY_BYTES: usize = 16 << 20;
/// What a reply may take: a purge waits for the disk.
const PATIENCE: Duration = Duration::from_secs(60);

/// See what a running server keeps of answers, why a request finds what it finds, and have it forget some
#[derive(Debug, Args)]
pub struct CacheCommand {
    /// The server's root, with or without /v1
    #[arg(long, global = true, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// A key to send as bearer token; env:NAME takes it from the environment
    #[arg(long, global = true)]
    api_key: Option<String>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Show what is kept, hits by level, rejects by gate, what was saved, and how many answers were wrong
    Stats {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say why a request would be given an answer again, or would not
    Explain {
        /// The request's body as JSON, with messages or prompt; - reads it from standard input
        request: String,
        /// Whose request it would be, for administrators [default: the key's own]
        #[arg(long)]
        tenant: Option<String>,
    },
    /// Forget the answers that all of what is said is true of
    Purge(Purge),
}

#[derive(Debug, Args)]
#[group(required = true, multiple = true)]
struct Purge {
    /// Whose, also where that one shares them
    #[arg(long, conflicts_with = "shared")]
    tenant: Option<String>,
    /// Those that all tenants share
    #[arg(long)]
    shared: bool,
    /// Of this model
    #[arg(long)]
    model: Option<String>,
    /// Asked by this user, as requests name it
    #[arg(long)]
    user: Option<String>,
    /// Of this version of the prompt, as metadata.prompt_version names it
    #[arg(long)]
    prompt_version: Option<String>,
    /// Of this version of the data, as metadata.data_version names it
    #[arg(long)]
    data_version: Option<String>,
    /// Answered from this document, as metadata.documents names it
    #[arg(long)]
    document: Option<String>,
    /// All, and the cached prefixes
    #[arg(long, conflicts_with_all = ["tenant", "shared", "model", "user", "prompt_version", "data_version", "document"])]
    all: bool,
}

impl CacheCommand {
    /// Runs the command.
    pub async fn run(self) -> anyhow::Result<()> {
        let key = self.api_key.as_deref().map(resolve_key).transpose()?;
        let options = HttpOptions {
            url: &self.url,
            api_key: key.as_deref().map(str::trim),
            user_agent: concat!("flambeau/", env!("CARGO_PKG_VERSION")),
            connect_timeout: Duration::from_secs(10),
            max_idle: 1,
            idle_timeout: PATIENCE,
        };
        let client = HttpClient::new(&options).context("--url")?;
        match self.action {
            Action::Stats { json } => {
                let stats = ask(&client, "/admin/cache", None).await?;
                print!("{}", if json { pretty(&stats) } else { table(&stats) });
            }
            Action::Explain { request, tenant } => {
                let request: Value =
                    serde_json::from_str(&body(request)?).context("the request is no JSON")?;
                let asked = json!({"request": request, "tenant": tenant});
                let told = ask(&client, "/admin/cache/explain", Some(asked)).await?;
                print!("{}", pretty(&told));
            }
            Action::Purge(Purge { all: true, .. }) => {
                let told = ask(&client, "/admin/cache/reset", Some(json!({}))).await?;
                print!("{}", pretty(&told));
            }
            Action::Purge(purge) => {
                let told = ask(&client, "/admin/cache/purge", Some(purge.body())).await?;
                print!("{}", pretty(&told));
            }
        }
        Ok(())
    }
}

impl Purge {
    fn body(self) -> Value {
        let said = [
            ("tenant", self.tenant),
            ("model", self.model),
            ("user", self.user),
            ("prompt_version", self.prompt_version),
            ("data_version", self.data_version),
            ("document", self.document),
        ];
        let said = said.into_iter();
        let said = said.filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        let mut body: Map<String, Value> = said.collect();
        if self.shared {
            body.insert("shared".into(), true.into());
        }
        body.into()
    }
}

fn body(typed: String) -> anyhow::Result<String> {
    if typed != "-" {
        return Ok(typed);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}

/// Gets, or posts what is said.
async fn ask(
    client: &HttpClient,
    path: &'static str,
    body: Option<Value>,
) -> anyhow::Result<Value> {
    let asked = async {
        let reply = match body {
            None => client.get(path).await?,
            Some(body) => client.post(path, Bytes::from(body.to_string())).await?,
        };
        let status = reply.status;
        anyhow::Ok((status, reply.body.collect(MAX_REPLY_BYTES).await?))
    };
    let asked = tokio::time::timeout(PATIENCE, asked).await;
    let (status, bytes) = asked.context("the server does not answer")??;
    let told: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if status != 200 {
        let text = String::from_utf8_lossy(&bytes);
        let said = told["error"]["message"].as_str();
        bail!(
            "{status}: {}",
            said.map_or_else(|| excerpt(&text), str::to_owned)
        );
    }
    Ok(told)
}

fn pretty(told: &Value) -> String {
    format!("{told:#}\n")
}

/// What `/admin/cache` says, for people.
fn table(stats: &Value) -> String {
    let mut lines = Vec::new();
    for level in ["prefix", "exact", "semantic"] {
        let Some(of_level) = stats.get(level) else {
            lines.push(format!("{level}: off"));
            continue;
        };
        lines.push(match of_level.get("entries") {
            Some(entries) => format!("{level}: {entries} answers, {} bytes", of_level["bytes"]),
            None => format!("{level}:"),
        });
        for (model, of_model) in of_level["models"].as_object().into_iter().flatten() {
            lines.push(format!("  {model}"));
            for (name, value) in of_model.as_object().into_iter().flatten() {
                lines.push(format!("    {name}: {}", shown(value)));
            }
        }
    }
    lines.push(String::new());
    lines.join("\n")
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) if map.is_empty() => "none".into(),
        Value::Object(map) => {
            let pairs = map.iter().map(|(name, value)| format!("{name} {value}"));
            pairs.collect::<Vec<_>>().join(", ")
        }
        Value::Number(number) if number.is_f64() => {
            format!("{:.4}", number.as_f64().unwrap_or_default())
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_keeps_is_said_line_by_line() {
        let stats = json!({"semantic": {"entries": 2, "bytes": 900, "models": {"m": {
            "serves": "yes", "rejects": {"number": 3, "time": 1}, "saved_engine_ms": 12.5}}}});
        let said = "prefix: off\nexact: off\nsemantic: 2 answers, 900 bytes\n  m\n    serves: yes\n    rejects: number 3, time 1\n    saved_engine_ms: 12.5000\n";
        assert_eq!(table(&stats), said);
    }

    #[test]
    fn what_is_forgotten_is_what_was_typed() {
        let purge = Purge {
            tenant: Some("a".into()),
            shared: false,
            model: None,
            user: Some("u".into()),
            prompt_version: None,
            data_version: None,
            document: None,
            all: false,
        };
        assert_eq!(purge.body(), json!({"tenant": "a", "user": "u"}));
    }
}
