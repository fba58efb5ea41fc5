//! `flambeau bench serve` against a real server on the loopback that speaks the protocol with scripted delays and
//! faults. Lower bounds on times are strict; there are no upper ones, since the machine may be busy.

#![allow(clippy::unwrap_used, reason = "test code outside test functions")]

mod scripted_server;

use std::collections::HashSet;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use flambeau::cli::bench::{Report, ServeBench};
use scripted_server::{
    Answer, DONE, FINISH, ROLE, Step, TOKEN, event, one_token, serve, usage, wait,
};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::Barrier;

fn bench(url: &str, flags: &str) -> ServeBench {
    let words = ["serve", "--url", url, "--input-len", "8"]
        .into_iter()
        .chain(flags.split_whitespace());
    ServeBench::try_parse_from(words).unwrap_or_else(|error| panic!("{error}"))
}

async fn measure(url: &str, flags: &str) -> Report {
    bench(url, flags).measure().await.unwrap()
}

fn kinds(report: &Report) -> Vec<(&str, usize)> {
    let mut kinds: Vec<_> = report
        .failures
        .iter()
        .map(|failure| (&*failure.kind, failure.count))
        .collect();
    kinds.sort_unstable();
    kinds
}

#[tokio::test(flavor = "multi_thread")]
async fn scripted_delays_are_measured() {
    let (_, url) = serve(|_| {
        Answer::Stream(vec![
            event(ROLE),
            wait(60),
            event(TOKEN),
            wait(30),
            event(TOKEN),
            wait(30),
            event(TOKEN),
            event(FINISH),
            usage(11, 3),
            wait(40),
            event(DONE),
        ])
    })
    .await;
    let report = measure(&url, "--concurrency 2 --num-prompts 4").await;
    assert_eq!(
        (report.completed, report.failed, report.max_concurrency),
        (4, 0, 2)
    );
    assert_eq!(
        (
            report.prompt_tokens,
            report.output_tokens,
            report.tokens_per_chunk
        ),
        (44, 12, Some(1.0))
    );
    let [ttft, itl, tpot, e2e] =
        [report.ttft_ms, report.itl_ms, report.tpot_ms, report.e2e_ms].map(Option::unwrap);
    assert_eq!([ttft.count, itl.count, tpot.count, e2e.count], [4, 8, 4, 4]);
    assert!(ttft.p50 >= 60.0, "the role chunk is no token: {ttft:?}");
    // Three tokens: the last comes no earlier than 120 ms, the end no earlier than 160.
    assert!(ttft.mean + 2.0 * itl.mean >= 120.0, "{ttft:?} {itl:?}");
    assert!(e2e.p50 >= 160.0, "{e2e:?}");
    assert!(
        (ttft.mean + 2.0 * tpot.mean - e2e.mean).abs() < 0.001,
        "{ttft:?} {tpot:?} {e2e:?}"
    );
    assert!(
        report.duration_s >= 0.32,
        "two rounds of 160 ms: {}",
        report.duration_s
    );
    assert!((report.output_tokens_per_s - 12.0 / report.duration_s).abs() < 1e-6);
    assert!((report.total_tokens_per_s - 56.0 / report.duration_s).abs() < 1e-6);
    assert!(report.schedule_delay_ms.is_none() && report.ttft_from_send_ms.is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn samples_are_each_requests_own_and_add_up_to_the_report() {
    let (_, url) = serve(|index| match index {
        2 => Answer::Stream(vec![event(ROLE)]),
        _ => Answer::Stream([vec![wait(20)], one_token()].concat()),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("samples.jsonl");
    let mut bench = bench(&url, "--request-rate 200 --num-prompts 6 --concurrency 1");
    bench.samples = Some(path.clone());
    assert_eq!(bench.run().await.unwrap(), ExitCode::FAILURE);
    let text = std::fs::read_to_string(path).unwrap();
    let samples: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(samples.len(), 6);
    let starts: Vec<f64> = samples
        .iter()
        .map(|sample| sample["start_s"].as_f64().unwrap())
        .collect();
    assert!(starts[0] == 0.0 && starts.is_sorted(), "{starts:?}");
    let (failed, ok): (Vec<&Value>, Vec<&Value>) =
        (samples.iter()).partition(|sample| !sample["failure"].is_null());
    assert_eq!(failed.len(), 1);
    assert_eq!(failed[0]["failure"], "no_done");
    assert!(failed[0]["ttft_ms"].is_null() && failed[0]["output_tokens"] == 0);
    for sample in ok {
        let [ttft, e2e] = ["ttft_ms", "e2e_ms"].map(|name| sample[name].as_f64().unwrap());
        assert!((20.0..=e2e).contains(&ttft), "{sample}");
        assert_eq!(sample["output_tokens"], 1);
    }
}

/// The seeded arrivals at 500 a second span far less than the stall of 500 ms, so nearly all of it falls on each of the
/// requests that wait behind the stalled one.
#[tokio::test(flavor = "multi_thread")]
async fn a_stall_counts_in_every_request_it_kept_waiting() {
    let stall_first = |index| {
        let stall = if index == 0 { 500 } else { 0 };
        Answer::Stream([vec![wait(stall)], one_token()].concat())
    };
    let (_, url) = serve(stall_first).await;
    let open = measure(&url, "--request-rate 500 --concurrency 1 --num-prompts 10").await;
    assert_eq!((open.completed, open.max_concurrency), (10, 1));
    let [ttft, e2e, delay] =
        [open.ttft_ms, open.e2e_ms, open.schedule_delay_ms].map(Option::unwrap);
    assert!(
        ttft.p50 >= 300.0 && e2e.p50 >= 300.0 && delay.p50 >= 300.0,
        "{ttft:?} {e2e:?} {delay:?}"
    );
    let from_send = open.ttft_from_send_ms.unwrap();
    assert!(
        (from_send.mean + delay.mean - ttft.mean).abs() < 0.001,
        "{from_send:?} {delay:?} {ttft:?}"
    );

    let (_, url) = serve(stall_first).await;
    let uncapped = measure(&url, "--request-rate 500 --num-prompts 10").await;
    assert!(
        uncapped.max_concurrency > 1,
        "without a cap nobody waits behind the stalled request"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_keeps_to_its_arrivals() {
    let (_, url) = serve(|_| Answer::Stream(one_token())).await;
    let report = measure(&url, "--request-rate 100 --num-prompts 30 --seed 5").await;
    assert_eq!(report.completed, 30);
    // Nothing is sent before its time: 30 seeded gaps at 100 a second take at least half of their mean.
    assert!(report.duration_s >= 0.15, "{}", report.duration_s);
    assert_eq!(report.schedule_delay_ms.unwrap().count, 30);
}

#[tokio::test(flavor = "multi_thread")]
async fn failures_are_counted_by_kind_and_kept_out_of_the_figures() {
    let (server, url) = serve(|index| match index {
        0 => Answer::Other(
            429,
            "application/json",
            r#"{"error":{"message":"slow down","type":"rate"}}"#,
        ),
        1 => Answer::Other(500, "text/plain", "oops"),
        2 => Answer::Other(200, "application/json", "{}"),
        3 => Answer::Stream(vec![event(TOKEN), event(FINISH)]),
        4 => Answer::Stream(vec![event(TOKEN), event(DONE)]),
        5 => Answer::Stream(vec![event(TOKEN), event("{"), event(FINISH), event(DONE)]),
        6 => Answer::Stream(vec![
            event(TOKEN),
            event(r#"{"error":{"message":"out of memory"}}"#),
        ]),
        7 => Answer::Stream(vec![event(TOKEN), wait(10), Step::Break]),
        8 => Answer::Stream(vec![event(TOKEN), Step::Hang]),
        9 => Answer::Other(429, "text/plain", "again"),
        _ => Answer::Stream(one_token()),
    })
    .await;
    let report = measure(&url, "--concurrency 1 --num-prompts 12 --timeout 1").await;
    assert_eq!((report.completed, report.failed), (2, 10));
    assert_eq!(
        kinds(&report),
        [
            ("connection", 1),
            ("error_event", 1),
            ("http_429", 2),
            ("http_500", 1),
            ("malformed", 2),
            ("no_done", 1),
            ("no_finish_reason", 1),
            ("timeout", 1),
        ]
    );
    assert_eq!(
        (&*report.failures[0].kind, &*report.failures[0].example),
        ("http_429", "HTTP 429: slow down")
    );
    assert_eq!(
        report.output_tokens, 2,
        "the failed replies' tokens don't count"
    );
    for summary in [report.ttft_ms, report.e2e_ms] {
        assert_eq!(summary.unwrap().count, 2);
    }
    assert!(report.itl_ms.is_none() && report.tpot_ms.is_none());
    let table = report.to_string();
    assert!(
        table.contains("2 completed, 10 failed") && table.contains("out of memory"),
        "{table}"
    );
    assert_eq!(
        server.seen.lock().unwrap().len(),
        12,
        "a failed request isn't sent again"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_is_a_connect_failure() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let report = measure(&url, "--model m --concurrency 2 --num-prompts 3").await;
    assert_eq!(kinds(&report), [("connect", 3)]);
    assert!(report.ttft_ms.is_none() && report.e2e_ms.is_none());
    assert!(report.to_string().contains("no sample"));
    let error = bench(&url, "--concurrency 2 --num-prompts 3")
        .measure()
        .await
        .err()
        .unwrap();
    assert!(format!("{error:#}").contains("/v1/models"), "{error:#}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_exit_code_and_the_json_tell_of_failures() {
    let (_, url) = serve(|index| match index {
        3 => Answer::Other(503, "text/plain", "draining"),
        _ => Answer::Stream(one_token()),
    })
    .await;
    let path = std::env::temp_dir().join(format!("flambeau-bench-{}.json", std::process::id()));
    let flags = format!(
        "--concurrency 1 --num-prompts 2 --api-key hush --json {}",
        path.display()
    );
    assert_eq!(bench(&url, &flags).run().await.unwrap(), ExitCode::SUCCESS);
    assert_eq!(bench(&url, &flags).run().await.unwrap(), ExitCode::FAILURE);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(!text.contains("hush"));
    let report: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(
        (&report["completed"], &report["failed"]),
        (&json!(1), &json!(1))
    );
    assert_eq!(
        report["failures"],
        json!([{"kind": "http_503", "count": 1, "example": "HTTP 503: draining"}])
    );
    assert_eq!(report["settings"]["model"], "first");
    assert_eq!(report["settings"]["input_len"], 8);
    assert_eq!(report["settings"]["endpoint"], "chat");
    assert_eq!(report["ttft_ms"]["count"], 1);
    assert!(report["e2e_ms"]["p99"].as_f64().is_some_and(|ms| ms > 0.0));
    assert_eq!(report["schedule_delay_ms"], Value::Null);
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_carry_what_was_asked_for() {
    let (server, url) = serve(|_| Answer::Stream(one_token())).await;
    let flags = "--concurrency 1 --num-prompts 2 --warmup 1 --output-len 9 --ignore-eos --temperature 0 --api-key sesame";
    assert_eq!(measure(&format!("{url}/v1"), flags).await.completed, 2);
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 3, "the warm-up is sent, and not measured");
    let prompts: HashSet<_> = seen
        .iter()
        .map(|seen| seen.body["messages"][0]["content"].to_string())
        .collect();
    assert_eq!(
        prompts.len(),
        3,
        "no two prompts are the same, the warm-up's included"
    );
    for seen in seen.iter() {
        assert_eq!(
            (&*seen.path, seen.key.as_deref()),
            ("/v1/chat/completions", Some("Bearer sesame"))
        );
        assert_eq!(seen.body["model"], "first");
        assert_eq!(seen.body["stream"], true);
        assert_eq!(seen.body["stream_options"], json!({"include_usage": true}));
        assert_eq!(
            (&seen.body["max_tokens"], &seen.body["ignore_eos"]),
            (&json!(9), &json!(true))
        );
        assert_eq!(seen.body["temperature"], 0.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn completions_without_usage_are_counted_by_their_chunks() {
    let text =
        |text: &str| event(json!({"choices": [{"index": 0, "text": text, "finish_reason": null}]}));
    let finish = event(json!({"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}));
    let steps = vec![text("a"), text("b"), text("c"), finish, event(DONE)];
    let (server, url) = serve(move |_| Answer::Stream(steps.clone())).await;
    let report = measure(
        &url,
        "--endpoint completions --model m --concurrency 1 --num-prompts 2",
    )
    .await;
    assert_eq!(
        (report.completed, report.output_tokens, report.prompt_tokens),
        (2, 6, 0)
    );
    assert_eq!(report.replies_without_usage, 2);
    assert!(report.to_string().contains("2 replies had no usage"));
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen[0].path, "/v1/completions");
    assert!(seen[0].body["prompt"].is_string());
}

#[tokio::test(flavor = "multi_thread")]
async fn several_tokens_in_a_chunk_are_told() {
    let steps = vec![
        event(TOKEN),
        event(TOKEN),
        event(FINISH),
        usage(5, 7),
        event(DONE),
    ];
    let (_, url) = serve(move |_| Answer::Stream(steps.clone())).await;
    let report = measure(&url, "--concurrency 1 --num-prompts 1").await;
    assert_eq!(report.tokens_per_chunk, Some(3.5));
    let expected = (report.e2e_ms.unwrap().mean - report.ttft_ms.unwrap().mean) / 6.0;
    assert!((report.tpot_ms.unwrap().mean - expected).abs() < 1e-3);
    assert!(report.to_string().contains("a chunk has 3.50 tokens"));
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_chunk_borders_and_line_ends_change_nothing() {
    let steps: Vec<Step> = [
        ": keep-alive\r\n\r\nda",
        "ta: {\"choices\":[{\"delta\":\r",
        "\ndata: {\"content\":\"é\"}}]}\r\n\r",
        "\ndata:{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: [DO",
        "NE]\n",
        "\n",
    ]
    .map(|text| [Step::Raw(text), wait(2)])
    .concat();
    let (_, url) = serve(move |_| Answer::Stream(steps.clone())).await;
    let report = measure(&url, "--concurrency 1 --num-prompts 2").await;
    assert_eq!(
        (report.completed, report.output_tokens),
        (2, 2),
        "{:?}",
        report.failures
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_keeps_its_places_filled_on_kept_connections() {
    let meeting = Arc::new(Barrier::new(3));
    let (server, url) = serve(move |_| {
        // No reply of a round ends before three requests are there.
        Answer::Stream([vec![Step::Meet(Arc::clone(&meeting))], one_token()].concat())
    })
    .await;
    let report = measure(&url, "--model m --concurrency 3 --num-prompts 9").await;
    assert_eq!((report.completed, report.max_concurrency), (9, 3));
    assert!(
        report.mean_concurrency > 0.0 && report.mean_concurrency <= 3.01,
        "{}",
        report.mean_concurrency
    );
    let seen = server.seen.lock().unwrap();
    let peers: HashSet<_> = seen.iter().map(|seen| seen.peer).collect();
    assert_eq!(peers.len(), 3, "one connection for each place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_warm_up_that_fails_measures_nothing() {
    let (server, url) = serve(|_| Answer::Other(503, "text/plain", "loading")).await;
    let error = bench(&url, "--concurrency 1 --num-prompts 5 --warmup 2")
        .measure()
        .await
        .err()
        .unwrap();
    assert!(
        format!("{error:#}").contains("warm-up") && format!("{error:#}").contains("loading"),
        "{error:#}"
    );
    assert_eq!(server.seen.lock().unwrap().len(), 2);
}
