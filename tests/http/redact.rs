//! Takes the times out of answers, so that they can be compared with snapshots.

use serde_json::Value;

/// Replaces every time in `value`, after checking that it is one.
pub fn redact(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match key.as_str() {
                    "created" => {
                        assert!(value.as_u64().unwrap() > 1_600_000_000, "{value}");
                        *value = "[time]".into();
                    }
                    "queue_ms" | "prefill_ms" | "ttft_ms" => {
                        assert!(value.as_f64().unwrap() >= 0.0, "{value}");
                        *value = "[ms]".into();
                    }
                    _ => redact(value),
                }
            }
        }
        Value::Array(list) => list.iter_mut().for_each(redact),
        _ => {}
    }
}

/// A JSON body, redacted, over several lines.
pub fn pretty(mut body: Value) -> String {
    redact(&mut body);
    serde_json::to_string_pretty(&body).unwrap()
}

/// An event stream, redacted, one event a line.
pub fn transcript(events: &[String]) -> String {
    let line = |event: &String| match data(event) {
        Some(mut value) => {
            redact(&mut value);
            format!("data: {value}\n")
        }
        None => format!("{event}\n"),
    };
    events.iter().map(line).collect()
}

/// The JSON of an event, if it has any.
pub fn data(event: &str) -> Option<Value> {
    serde_json::from_str(event.strip_prefix("data: ")?).ok()
}

/// The pieces of text in an event stream of either endpoint, in order, without empty ones.
pub fn pieces(events: &[String]) -> Vec<String> {
    let text = |event: &String| {
        let choice = data(event)?["choices"][0].take();
        let text = choice["text"]
            .as_str()
            .or(choice["delta"]["content"].as_str());
        text.filter(|text| !text.is_empty()).map(str::to_owned)
    };
    events.iter().filter_map(text).collect()
}
