//! Tenants and classes under pressure, in virtual time.

mod rng;
mod virtual_time;

use std::time::Duration;

use flambeau::request::Priority;
use flambeau::scheduler::SchedulerConfig;
use rng::Rng;
use virtual_time::{CHAT, Client, Fate, merged, percentile, poisson};

fn serve(clients: &[Client], max_num_seqs: usize, num_blocks: usize) -> Vec<Fate> {
    let config = SchedulerConfig {
        max_num_seqs,
        max_num_batched_tokens: 256,
        max_model_len: 1024,
        prefix_cache: true,
        target_itl: Some(Duration::from_millis(40)),
        speculation: false,
    };
    virtual_time::serve(config, num_blocks, clients)
}

fn ttft(fate: &Fate) -> Duration {
    fate.ttft.expect("everybody is served")
}

/// The 99th percentile of a tenant's times to first token.
fn p99(clients: &[Client], served: &[Fate], tenant: &str) -> Duration {
    let both = clients.iter().zip(served);
    let own = both.filter(|(client, _)| client.tenant == tenant);
    percentile(own.map(|(_, fate)| ttft(fate)), 99)
}

#[test]
fn a_flood_at_most_doubles_the_wait_of_another_tenant() {
    let mut rng = Rng(5);
    // Each takes about 164 ms alone, so this is a quarter of the machine.
    let quiet = poisson(&mut rng, 300, Duration::from_millis(660), &CHAT);
    let flood = Client {
        tenant: "flood",
        ..CHAT
    };
    let end = quiet.last().unwrap().at;
    let flood = poisson(&mut rng, 3000, end / 3000, &flood);
    let alone = p99(&quiet, &serve(&quiet, 16, 2048), "quiet");
    let both = merged(&[&quiet, &flood]);
    let beside = p99(&both, &serve(&both, 16, 2048), "quiet");
    println!("P99 of the quiet tenant: alone {alone:?}, beside a flood {beside:?}");
    assert!(
        beside <= 2 * alone,
        "{beside:?} beside a flood, {alone:?} alone"
    );
}

#[test]
fn tenants_that_want_more_than_there_is_get_equal_shares() {
    let mut rng = Rng(6);
    let of = |rng: &mut Rng, tenant, prompt_len| {
        let kind = Client {
            tenant,
            prompt_len,
            ..CHAT
        };
        // 400 requests of 160 tokens, or 200 of 280, in 20 s: three times what the machine can do.
        let num = 64_000 / (prompt_len + 40);
        poisson(rng, num, Duration::from_secs(20) / num as u32, &kind)
    };
    let (short, long) = (of(&mut rng, "short", 120), of(&mut rng, "long", 240));
    let both = merged(&[&short, &long]);
    let served = serve(&both, 16, 2048);
    // While both have work: the tokens of what was finished.
    let tokens = |tenant: &str| -> usize {
        let finished = both.iter().zip(&served);
        let finished = finished
            .filter(|(client, fate)| client.tenant == tenant && fate.end < Duration::from_secs(20));
        finished
            .map(|(client, _)| client.prompt_len + client.max_tokens)
            .sum()
    };
    let (short, long) = (tokens("short") as f64, tokens("long") as f64);
    println!("tokens: short {short}, long {long}");
    assert!(
        (short / long - 1.0).abs() < 0.1,
        "{short} and {long} tokens"
    );
}

#[test]
fn whoever_was_alone_for_long_owes_nothing_to_a_newcomer() {
    // "old" has the machine for itself for a while, then both want all of it.
    let of = |tenant, at, num| {
        let kind = Client {
            tenant,
            at: Duration::from_secs(at),
            ..CHAT
        };
        vec![kind; num]
    };
    let clients = [of("old", 0, 300), of("new", 100, 100), of("old", 100, 100)].concat();
    let served = serve(&clients, 16, 2048);
    let of_old = &served[400..];
    let first = of_old.iter().map(ttft).min().unwrap();
    // Not after the newcomer's last, which is 17 s later.
    assert!(first < Duration::from_secs(5), "{first:?}");
}

#[test]
fn batch_work_gives_way_and_is_done_at_last() {
    let mut rng = Rng(7);
    let batch = Client {
        priority: Priority::Batch,
        prompt_len: 400,
        max_tokens: 200,
        ..CHAT
    };
    let batch = vec![batch; 40];
    let urgent = Client {
        priority: Priority::Interactive,
        ..CHAT
    };
    let urgent = poisson(&mut rng, 100, Duration::from_millis(700), &urgent);
    // Blocks for six of the batch: it fills the cache, and gives it back.
    let alone = serve(&urgent, 8, 240);
    let both = merged(&[&batch, &urgent]);
    let served = serve(&both, 8, 240);
    let ttft = |clients: &[Client], served: &[Fate]| {
        let both = clients.iter().zip(served);
        let urgent = both.filter(|(client, _)| client.priority == Priority::Interactive);
        percentile(urgent.map(|(_, fate)| ttft(fate)), 95)
    };
    let (alone, beside) = (ttft(&urgent, &alone), ttft(&both, &served));
    println!("P95 of urgent requests: alone {alone:?}, beside batch work {beside:?}");
    assert!(
        beside <= 2 * alone + Duration::from_millis(80),
        "{beside:?}, {alone:?}"
    );
    let last = served.iter().map(|served| served.end).max().unwrap();
    assert!(
        last < Duration::from_secs(120),
        "the batch took until {last:?}"
    );
}

#[test]
fn whoever_waits_long_is_served_whatever_comes_after() {
    // Interactive work for twice what the machine can do, and one batch request that was there first.
    let mut rng = Rng(8);
    let urgent = Client {
        priority: Priority::Interactive,
        ..CHAT
    };
    let urgent = poisson(&mut rng, 1000, Duration::from_millis(80), &urgent);
    let batch = Client {
        priority: Priority::Batch,
        ..CHAT
    };
    let both = merged(&[&[batch], &urgent]);
    let served = serve(&both, 8, 240);
    // Two classes below, it is level after two minutes, and then the first to have come.
    let ttft = ttft(&served[0]);
    assert!(ttft < Duration::from_secs(125), "{ttft:?}");
}
