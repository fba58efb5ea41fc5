//! Deadlines, in virtual time.

mod rng;
mod virtual_time;

use std::time::Duration;

use flambeau::kv::BlockPool;
use flambeau::request::{GenerateRequest, Priority, SamplingParams, StopCriteria};
use flambeau::scheduler::{Refusal, Scheduler, SchedulerConfig, Sequence, SequenceId};
use rng::Rng;
use virtual_time::{
    CHAT, Client, Fate, SECOND, merged, percentile, poisson, with_lengths_of_chats,
};

const CONFIG: SchedulerConfig = SchedulerConfig {
    max_num_seqs: 16,
    max_num_batched_tokens: 128,
    max_model_len: 2048,
    prefix_cache: true,
    target_itl: Some(Duration::from_millis(60)),
    speculation: false,
};

fn serve(clients: &[Client]) -> Vec<Fate> {
    virtual_time::serve(CONFIG, 2048, clients)
}

/// `num` chats, for so much of what the machine can do.
fn chats(rng: &mut Rng, num: usize, load: f64, kind: &Client) -> Vec<Client> {
    let clients = poisson(rng, num, SECOND.div_f64(load * CAPACITY), kind);
    with_lengths_of_chats(rng, clients)
}

/// What this machine does in a second, roughly: 220 prompt rows and 64 outputs a request.
const CAPACITY: f64 = 3.3;

const TTFT: Duration = Duration::from_secs(2);
const ITL: Duration = Duration::from_millis(80);

#[test]
fn first_tokens_come_when_they_are_expected() {
    for (load, looks_ahead) in [0.5, 1.0, 3.0]
        .into_iter()
        .flat_map(|load| [(load, false), (load, true)])
    {
        let kind = Client {
            // Nobody is refused, and everybody is told.
            deadline: Some(3600 * SECOND),
            ..CHAT
        };
        // Until it has seen a few dozen requests it can only guess.
        let clients = chats(&mut Rng(11), 400, load, &kind);
        let fates = &virtual_time::serve_with(CONFIG, 2048, &clients, looks_ahead)[50..];
        let errors = fates.iter().map(|fate| {
            let seconds = |time: Option<Duration>| time.expect("all are served").as_secs_f64();
            (seconds(fate.expected) / seconds(fate.ttft) - 1.0).abs()
        });
        let errors: Vec<f64> = errors.collect();
        let (p50, p90) = (percentile(errors.clone(), 50), percentile(errors, 90));
        println!("load {load}, ahead {looks_ahead}: error P50 {p50:.3}, P90 {p90:.3}");
        assert!(p90 <= 0.25, "load {load}, ahead {looks_ahead}: {p90}");
    }
}

/// Answers in time a second, of chats that have a deadline or none.
fn goodput(load: f64, deadline: Option<Duration>) -> (f64, Vec<Client>, Vec<Fate>) {
    let kind = Client { deadline, ..CHAT };
    let clients = chats(&mut Rng(12), (300.0 * load) as usize, load, &kind);
    let fates = serve(&clients);
    let in_time = fates
        .iter()
        .filter(|fate| fate.is_in_time(TTFT, ITL))
        .count();
    let seconds = clients.last().expect("somebody comes").at.as_secs_f64();
    (in_time as f64 / seconds, clients, fates)
}

#[test]
fn at_five_times_the_load_as_many_answers_come_in_time_as_at_the_best_one() {
    let fifo = [0.5, 0.7, 0.8, 0.9, 1.0, 1.2].map(|load| goodput(load, None).0);
    let peak = fifo.into_iter().fold(0.0, f64::max);
    let collapsed = goodput(5.0, None).0;
    let (kept, clients, fates) = goodput(5.0, Some(TTFT));
    println!(
        "in time a second: {fifo:.2?} without deadlines, {collapsed:.2} at 5 x, {kept:.2} with deadlines"
    );
    assert!(collapsed < 0.5 * peak, "overload was meant to hurt");
    assert!(kept >= 0.9 * peak);
    let taken: Vec<_> = clients
        .iter()
        .zip(&fates)
        .filter(|(_, f)| f.num_refusals == 0)
        .collect();
    let is_late = |fate: &Fate| fate.ttft.is_none_or(|ttft| ttft > TTFT);
    let num_late = taken.iter().filter(|(_, fate)| is_late(fate)).count();
    println!("{} taken, {num_late} of them late", taken.len());
    assert!(num_late * 50 <= taken.len());
}

#[test]
fn the_lengths_that_are_taken_are_those_that_are_offered() {
    let (_, clients, fates) = goodput(5.0, Some(TTFT));
    let taken = clients
        .iter()
        .zip(&fates)
        .filter(|(_, fate)| fate.num_refusals == 0);
    let taken: Vec<Client> = taken.map(|(client, _)| client.clone()).collect();
    for len in [|c: &Client| c.prompt_len, |c: &Client| c.answer_len] {
        let mean = |of: &[Client]| of.iter().map(len).sum::<usize>() as f64 / of.len() as f64;
        let ratio = mean(&taken) / mean(&clients);
        println!("lengths taken over lengths offered: {ratio:.3}");
        assert!((0.9..=1.1).contains(&ratio));
    }
}

/// At least 95 of a hundred who are refused and come back when they are told to get their first token in time.
fn who_obeys_is_taken(label: &str, clients: &[Client]) {
    let fates = serve(clients);
    let told = fates.iter().zip(clients);
    let told = told.filter(|(fate, client)| client.obeys && fate.num_refusals > 0);
    let told: Vec<&Fate> = told.map(|(fate, _)| fate).collect();
    let is_taken = |fate: &&&Fate| fate.num_refusals == 1 && fate.ttft <= Some(TTFT);
    let num_taken = told.iter().filter(is_taken).count();
    println!(
        "{label}: {num_taken} of {} taken when they came back",
        told.len()
    );
    assert!(
        told.len() > 50 && num_taken * 100 >= 95 * told.len(),
        "{label}"
    );
}

#[test]
fn who_comes_back_when_told_to_is_taken() {
    let mut rng = Rng(13);
    let obedient = Client {
        deadline: Some(TTFT),
        obeys: true,
        ..CHAT
    };
    let careless = Client {
        obeys: false,
        ..obedient.clone()
    };
    for (label, others) in [("all obey", &obedient), ("few obey", &careless)] {
        let others = chats(&mut rng, 600, 4.0, others);
        let all = merged(&[&others, &chats(&mut rng, 150, 1.0, &obedient)]);
        who_obeys_is_taken(label, &all);
    }
}

#[test]
fn who_has_little_time_is_taken_when_told_beside_others_who_have_much() {
    let mut rng = Rng(15);
    let hurried = Client {
        deadline: Some(TTFT),
        obeys: true,
        ..CHAT
    };
    let patient = Client {
        deadline: Some(15 * SECOND),
        obeys: false,
        ..CHAT
    };
    let patient = chats(&mut rng, 600, 3.0, &patient);
    let all = merged(&[&patient, &chats(&mut rng, 100, 0.5, &hurried)]);
    who_obeys_is_taken("little time", &all);
}

#[test]
fn what_one_tenant_is_promised_holds_up_no_other() {
    let mut rng = Rng(14);
    let told = Client {
        deadline: Some(TTFT),
        obeys: true,
        ..CHAT
    };
    let crowd = Client {
        tenant: "crowd",
        ..told.clone()
    };
    // Two requests a second of impossible haste, besides.
    let hasty = Client {
        deadline: Some(Duration::from_millis(1)),
        ..crowd.clone()
    };
    let quiet = chats(&mut rng, 60, 0.2, &told);
    let (crowd, hasty) = (
        chats(&mut rng, 900, 4.0, &crowd),
        chats(&mut rng, 180, 0.6, &hasty),
    );
    let all = merged(&[&quiet, &crowd, &hasty]);
    let fates = serve(&all);
    let own = all
        .iter()
        .zip(&fates)
        .filter(|(client, _)| client.tenant == "quiet");
    let (num, num_at_once) = own.fold((0, 0), |(num, at_once), (_, fate)| {
        let is_at_once = fate.num_refusals == 0 && fate.ttft <= Some(TTFT) && fate.ttft.is_some();
        (num + 1, at_once + usize::from(is_at_once))
    });
    println!("{num_at_once} of {num} of the quiet tenant are served at once");
    assert!(num_at_once * 100 >= 90 * num);
}

#[test]
fn a_prompt_that_takes_longer_than_its_deadline_is_told_so() {
    let mut scheduler = Scheduler::new(CONFIG, BlockPool::new(2048, 16));
    let request = |len: u32, deadline| GenerateRequest {
        num_begun: 0,
        recalled: None,
        prompt_logprobs: None,
        constraint: None,
        adapter: None,
        tenant: "a".into(),
        priority: Priority::Standard,
        deadline,
        prompt: (0..len).collect(),
        sampling: SamplingParams::greedy(),
        stop: StopCriteria {
            max_tokens: 10,
            ..StopCriteria::default()
        },
    };
    let mut add = |id, len, deadline| {
        let id = SequenceId(id);
        let sequence = Sequence::new(id, request(len, deadline), Duration::ZERO, 16);
        scheduler.add(sequence, Duration::ZERO)
    };
    assert_eq!(add(0, 100, None), Ok(()));
    // 1,900 tokens take 0.4 s by the first guess.
    let refusal = add(1, 1900, Some(Duration::from_millis(100)));
    assert!(
        matches!(refusal, Err(Refusal::TooLong { .. })),
        "{refusal:?}"
    );
    assert_eq!(add(2, 1900, Some(10 * SECOND)), Ok(()));
    assert_eq!(add(3, 100, Some(Duration::ZERO)), Err(Refusal::Late));
}

#[test]
fn a_deadline_that_passes_in_the_queue_ends_a_request() {
    let busy = Client {
        prompt_len: 1500,
        max_tokens: 500,
        ..CHAT
    };
    // Taken, because the machine is thought to be faster than it is: nothing has been measured yet.
    let hopeful = Client {
        deadline: Some(10 * SECOND),
        ..CHAT
    };
    let fates = serve(&[vec![busy; 16], vec![hopeful]].concat());
    assert!(fates[16].has_expired, "{:?}", fates[16]);
}
