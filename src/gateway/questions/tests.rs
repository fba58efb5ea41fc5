use proptest::prelude::*;

use super::*;

const AGE: Duration = Duration::from_secs(100);
const HERE: Context = Context([1; 32]);
const THERE: Context = Context([2; 32]);

fn answer(token: u32) -> GivenChoice {
    GivenChoice {
        tokens: vec![token],
        has_end: true,
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
    let (answered, cosine) = questions.of(of.0, of.1).nearest(&at(angle), now)?;
    assert!((-1.01..=1.01).contains(&cosine));
    Some(answered.answer.tokens[0])
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
        asked.keep(question, Some(at(angle)), answer(token), now);
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
        asked.keep(question.into(), None, answer(token), now);
    }
    let mut alike = |tenant, question| {
        let found = questions.of(tenant, HERE).alike(&Words::of(question), now);
        found.map(|(answered, overlap)| (answered.answer.tokens[0], overlap))
    };
    assert_eq!(alike("a", "Can I pay by card?"), Some((2, 8.0 / 11.0)));
    assert_eq!(alike("a", "How do I pay?"), Some((1, 1.0)));
    assert_eq!(alike("b", "How do I pay?"), None);
}

#[test]
fn a_question_has_its_last_answer_also_before_it_has_a_vector() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    for token in [1, 2] {
        let mut asked = questions.of("a", HERE);
        asked.keep("q".into(), None, answer(token), now);
    }
    assert_eq!(questions.len(), 1);
    let mut asked = questions.of("a", HERE);
    assert_eq!(asked.same("q", now).unwrap().answer, answer(2));
    assert!(asked.same("Q", now).is_none());
    assert!(asked.nearest(&at(0.0), now).is_none());
    let without = asked.without_vector(8);
    assert_eq!(without.len(), 1);
    without[0].vector.set(at(0.0)).unwrap();
    assert!(asked.without_vector(8).is_empty());
    assert!(asked.nearest(&at(5.0), now).is_some());
}

#[test]
fn what_is_too_old_is_forgotten_where_it_is_looked_for() {
    let mut questions = Questions::new(1 << 20, AGE);
    let now = Instant::now();
    let mut asked = questions.of("a", HERE);
    asked.keep("q".into(), Some(at(0.0)), answer(1), now);
    let late = now + AGE + Duration::from_millis(1);
    assert!(asked.nearest(&at(0.0), late).is_none());
    assert!(!asked.has_any());
    assert!(questions.is_empty() && questions.num_bytes() == 0);
}

#[test]
fn a_context_has_only_so_many_questions_the_newest() {
    let mut questions = Questions::new(1 << 30, AGE);
    let now = Instant::now();
    for i in 0..MAX_IN_CONTEXT + 3 {
        let mut asked = questions.of("a", HERE);
        asked.keep(i.to_string().into(), None, answer(0), now);
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
            let answer = GivenChoice { tokens: vec![1; len], has_end: true };
            let mut asked = questions.of(tenant, context);
            asked.keep(question.to_string().into(), Some(at(0.0)), answer, now);
            let kept = asked.same(&question.to_string(), now).unwrap();
            prop_assert_eq!(kept.answer.tokens.len(), len);
            let listed: usize = questions.contexts.values().flat_map(HashMap::values).map(Vec::len).sum();
            prop_assert_eq!(listed, questions.len());
            prop_assert!(questions.num_bytes() <= 12_000);
        }
        let num = questions.len();
        prop_assert_eq!(questions.clear(), num);
        prop_assert!(questions.contexts.is_empty());
    }
}
