use proptest::prelude::*;

use super::*;
use crate::gateway::answers::GivenChoice;
use crate::gateway::tags::Tags;

const AGE: Duration = Duration::from_secs(100);
const HERE: Context = Context([1; 32]);
const THERE: Context = Context([2; 32]);

fn answer(token: u32) -> Given {
    Given {
        choice: GivenChoice {
            tokens: vec![token],
            has_end: true,
        },
        scores: None,
        tags: Tags::default(),
        took: Took::default(),
    }
}

/// A direction in a plane, by its angle in degrees.
fn at(angle: f32) -> Vector {
    let (sin, cos) = angle.to_radians().sin_cos();
    Vector::new(&[cos, sin])
}

fn nearest(
    questions: &mut Questions,
    of: (&str, Context),
    angle: f32,
    now: Instant,
) -> Option<u32> {
    let mut asked = questions.of(of.0, of.1);
    let (answered, cosine) = asked.nearest(&at(angle), 1, now).pop()?;
    assert!((-1.01..=1.01).contains(&cosine));
    Some(answered.given.choice.tokens[0])
}

#[test]
fn the_nearest_question_of_the_same_tenant_and_context_is_found() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    for (tenant, context, angle, token) in [
        ("a", HERE, 0.0, 1),
        ("a", HERE, 40.0, 2),
        ("a", THERE, 20.0, 3),
        ("b", HERE, 21.0, 4),
    ] {
        let question = format!("{angle}").into();
        let mut asked = questions.of(tenant, context);
        asked.keep(
            Answered::new(asked.context, question, Some(at(angle)), answer(token)),
            now,
        );
    }
    assert_eq!(nearest(&mut questions, ("a", HERE), 19.0, now), Some(1));
    assert_eq!(nearest(&mut questions, ("a", HERE), 21.0, now), Some(2));
    assert_eq!(nearest(&mut questions, ("a", THERE), 90.0, now), Some(3));
    assert_eq!(nearest(&mut questions, ("b", HERE), 0.0, now), Some(4));
    assert_eq!(nearest(&mut questions, ("b", THERE), 0.0, now), None);
    assert_eq!(nearest(&mut questions, ("c", HERE), 0.0, now), None);
}

#[test]
fn the_question_with_the_most_words_in_common_is_found_before_anybody_knows_where_it_points() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    for (question, token) in [("how do I pay", 1), ("how do I pay by card", 2), ("x", 3)] {
        let mut asked = questions.of("a", HERE);
        asked.keep(
            Answered::new(asked.context, question.into(), None, answer(token)),
            now,
        );
    }
    let mut alike = |tenant, question| {
        let mut asked = questions.of(tenant, HERE);
        let found = asked.alike(&Words::of(question), 2, now).into_iter();
        let found = found.map(|(answered, overlap)| (answered.given.choice.tokens[0], overlap));
        found.collect::<Vec<_>>()
    };
    let by_card = alike("a", "Can I pay by card?");
    assert_eq!(by_card, [(2, 8.0 / 11.0), (1, 4.0 / 9.0)]);
    assert_eq!(alike("a", "How do I pay?")[0], (1, 1.0));
    assert_eq!(alike("b", "How do I pay?"), []);
}

#[test]
fn a_question_of_another_form_has_the_same_answer_and_one_in_other_words_not() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    let mut asked = questions.of("a", HERE);
    asked.keep(
        Answered::new(
            asked.context,
            "How do I pay by card?".into(),
            None,
            answer(1),
        ),
        now,
    );
    asked.keep(
        Answered::new(
            asked.context,
            "how do I pay, by card".into(),
            None,
            answer(2),
        ),
        now,
    );
    let mut form = |question| {
        let found = asked.same_in_form(NormalForm::of(question), now);
        found.map(|answered| answered.given.choice.tokens[0])
    };
    assert_eq!(form("Hello, how do I pay by card, please?"), Some(2));
    assert_eq!(form("How can I pay by card?"), None);
}

#[test]
fn what_is_chosen_is_forgotten_and_its_records_are_named() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    for (tenant, question, user) in [("a", "q", "u"), ("a", "r", "v"), ("b", "q", "u")] {
        let mut given = answer(1);
        given.tags.users = vec![user.into()];
        questions
            .of(tenant, HERE)
            .keep(Answered::new(HERE, question.into(), None, given), now);
    }
    let chosen = |tenant: Option<&str>, user: &str| tags::Selection {
        tenant: tenant.map(str::to_owned),
        user: Some(user.into()),
        ..tags::Selection::default()
    };
    assert_eq!(questions.purge(&chosen(None, "w")), [[0; 16]; 0]);
    let gone = questions.purge(&chosen(Some("a"), "u"));
    assert_eq!(gone, [record::record_id("a", HERE, "q")]);
    assert!(questions.of("a", HERE).same("q", now).is_none());
    assert!(questions.of("a", HERE).alike(&Words::of("q"), 9, now).len() == 1);
    assert_eq!(questions.purge(&chosen(None, "u")).len(), 1);
    assert_eq!(questions.len(), 1);
}

#[test]
fn a_record_says_all_that_is_known_of_an_answer_and_an_older_ones_says_less() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    let mut given = answer(7);
    given.scores = Some(Scores {
        prompt: [3; 32],
        logprobs: vec![-0.25, -100.0],
    });
    given.tags.documents = vec!["d".into()];
    let mut asked = questions.of("a", HERE);
    asked.keep(
        Answered::new(asked.context, "q".into(), None, given.clone()),
        now,
    );
    let mut record = record_of("a", &asked.same("q", now).unwrap(), 9);
    questions.clear();
    questions.restore(&record, now);
    let found = |questions: &mut Questions| questions.of("a", HERE).same("q", now).unwrap();
    assert_eq!(found(&mut questions).given, given);
    record.value = br#"{"question":"q","tokens":[7],"has_end":true}"#.to_vec();
    questions.restore(&record, now);
    assert_eq!(found(&mut questions).given, answer(7));
}

#[test]
fn a_question_has_its_last_answer_also_before_it_has_a_vector() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    for token in [1, 2] {
        let mut asked = questions.of("a", HERE);
        asked.keep(
            Answered::new(asked.context, "q".into(), None, answer(token)),
            now,
        );
    }
    assert_eq!(questions.len(), 1);
    let mut asked = questions.of("a", HERE);
    assert_eq!(asked.same("q", now).unwrap().given, answer(2));
    assert!(asked.same("Q", now).is_none());
    assert!(asked.nearest(&at(0.0), 1, now).is_empty());
    let without = asked.without_vector(8);
    assert_eq!(without.len(), 1);
    without[0].vector.set(at(0.0)).unwrap();
    assert!(asked.without_vector(8).is_empty());
    assert_eq!(asked.nearest(&at(5.0), 9, now).len(), 1);
}

#[test]
fn what_is_too_old_is_forgotten_where_it_is_looked_for() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    let mut asked = questions.of("a", HERE);
    asked.keep(
        Answered::new(asked.context, "q".into(), Some(at(0.0)), answer(1)),
        now,
    );
    let late = now + AGE + Duration::from_millis(1);
    assert!(asked.nearest(&at(0.0), 1, late).is_empty());
    assert!(!asked.has_any());
    assert!(questions.is_empty() && questions.num_bytes() == 0);
}

#[test]
fn a_context_has_only_so_many_questions_the_newest() {
    let mut questions = Questions::new(1 << 30, AGE);
    let now = Instant::now();
    for i in 0..MAX_IN_CONTEXT + 3 {
        let mut asked = questions.of("a", HERE);
        asked.keep(
            Answered::new(asked.context, i.to_string().into(), None, answer(0)),
            now,
        );
    }
    assert_eq!(questions.len(), MAX_IN_CONTEXT);
    let mut asked = questions.of("a", HERE);
    assert!(asked.same("2", now).is_none() && asked.same("3", now).is_some());
}

proptest! {
    #[test]
    fn lists_and_entries_agree_whatever_is_kept_and_evicted(
        acts in prop::collection::vec((0..3usize, 0..3u8, 0..6u8, 0..200usize), 0..150)
    ) {
        let now = Instant::now();
        let mut questions = Questions::new(12_000, AGE);
        for (tenant, context, question, len) in acts {
            let tenant = ["a", "b", "c"][tenant];
            let context = Context([context; 32]);
            let mut answer = answer(1);
            answer.choice.tokens = vec![1; len];
            let mut asked = questions.of(tenant, context);
            asked.keep(Answered::new(asked.context, question.to_string().into(), Some(at(0.0)), answer), now);
            let kept = asked.same(&question.to_string(), now).unwrap();
            prop_assert_eq!(kept.given.choice.tokens.len(), len);
            let listed: usize = questions.contexts.values().flat_map(HashMap::values).map(Vec::len).sum();
            prop_assert_eq!(listed, questions.len());
            prop_assert!(questions.num_bytes() <= 12_000);
        }
        let num = questions.len();
        prop_assert_eq!(questions.clear(), num);
        prop_assert!(questions.contexts.is_empty());
    }
}
