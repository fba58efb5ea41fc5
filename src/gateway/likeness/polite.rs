//! What is said for politeness alone, left out.

use std::sync::LazyLock;

use super::contractions;
use super::lexicon::Class;
use super::map::{self, Map};
use super::settle;
use super::words::{self, Kind, Token};

/// Said before a question, with a mark behind it.
const OPENINGS: &str = "
    hi, hello, hey, hi there, hello there, hey there, hi again, hello again, hi all, hi everyone, hello everyone, hi team, hello team,
    dear team, dear support, dear support team, dear all, dear sir or madam, good morning, good afternoon, good evening, good day,
    greetings, excuse me, pardon me, sorry, sorry to bother you, sorry for bothering you, sorry to bother, sorry for the trouble,
    quick question, a quick question, just a quick question, one quick question, i have a quick question, i have a question,
    i have one question, a question, one question, just a question, question, i hope you are well, i hope you are doing well,
    hope you are well, hope you are doing well, i hope all is well, hope all is well, i hope this finds you well, i hope you can help,
    i hope you can help me, hope you can help, please help, please help me, help please, i would appreciate your help,
    i would appreciate some help, ok, okay, so, well, um, uh, hmm, alright, silly question, sorry for the silly question, just curious,
    just wondering, out of curiosity, please, maybe a silly question, maybe a stupid question, stupid question, thanks for your help,
    thank you for your help, thanks in advance, thank you in advance, hey guys, hi guys, hi folks, hello folks, hey folks, hi support,
    hello support, one more question, another question, next question, last question, a last question, quick one, just a quick one,
    one more thing, sir, madam, pardon, dear assistant, hi assistant, hello assistant, hey assistant, hey bot, hi bot, hello bot, help,
    i need help, i need your help, i need some help, can you help, could you help, can you help me, could you help me,
    can you help me with something, could you help me with something, can you help me with this, could you help me with this,
    can you help me out, could you help me out, let me ask, let me ask you, let me ask you something, may i ask you something,
    can i ask you something, can i ask you a question, may i ask you a question, can i ask a question, may i ask a question,
    i wanted to ask, i just wanted to ask, i would like to ask, i would like to know, i want to know, i was wondering,
    i was just wondering, i am curious, i wonder, my question is, here is my question, please answer, please answer this,
    please answer my question, can you answer this, could you answer this, can you please answer this, could you please answer this,
    please tell me, tell me, sorry to ask, forgive me for asking, just to check, just checking, if you do not mind, if you do not mind me asking, if i may ask, may i ask, if i may
";

/// Said behind a question, with a mark before it.
const CLOSINGS: &str = "
    thanks, thank you, many thanks, thanks a lot, thanks a million, thanks a bunch, thanks so much, thank you so much,
    thank you very much, thanks very much, thanks in advance, thank you in advance, many thanks in advance, thanks again,
    thank you again, thx, ty, cheers, ta, much appreciated, any help is appreciated, any help would be appreciated,
    any help is much appreciated, any help would be much appreciated, any help is welcome, your help is appreciated,
    your help would be appreciated, help appreciated, kind regards, best regards, warm regards, best wishes, regards, please,
    please help, please help me, please and thank you, thanks for your help, thank you for your help, thanks for the help,
    thank you for the help, thanks for any help, thank you for any help, thanks for helping, thank you for helping, i appreciate it,
    i would appreciate it, i appreciate your help, i would appreciate your help, have a nice day, have a good day, have a great day,
    have a good one, bye, thanks a ton, thanks loads, thanks heaps, tia, please advise,
    please respond, please reply, can you help, could you help, can you help me, could you help me, can you help me with this,
    could you help me with this, can you help me with that, could you help me with that, can you help me out, could you help me out,
    can you please help, could you please help, can you please help me, could you please help me, i need help, i need your help,
    i would be grateful, i would be very grateful, i would be thankful, appreciate it, appreciated, if you do not mind, if i may ask, if you please, thank you kindly, thanks for your time,
    thank you for your time, thanks in anticipation, just curious, just wondering
";

/// A greeting needs no mark before these.
const GREETED: &str = "how what where when why i please";

/// What may be asked about the word "please" itself.
const SAYS: &str = "say says said saying word words phrase spell write pronounce mean means translate use add hello sorry thanks \
    yes no want like aim eager ready hard easy as";

type Phrases = Map<&'static str, Vec<&'static str>>;

/// By their first words.
static OPENINGS_BY_WORD: LazyLock<Phrases> =
    LazyLock::new(|| by_word(OPENINGS, |phrase| phrase.split(' ').next()));
/// By their last words.
static CLOSINGS_BY_WORD: LazyLock<Phrases> =
    LazyLock::new(|| by_word(CLOSINGS, |phrase| phrase.rsplit(' ').next()));

fn by_word(table: &'static str, word: impl Fn(&'static str) -> Option<&'static str>) -> Phrases {
    let mut phrases = Phrases::default();
    for phrase in map::rows(table) {
        phrases
            .entry(word(phrase).unwrap_or_default())
            .or_default()
            .push(phrase);
    }
    phrases
}

/// The tokens of a text, without contractions and politeness.
pub(super) fn plain(text: &str) -> Vec<Token<'_>> {
    let mut tokens = contractions::written_out(words::tokens(text));
    tokens.dedup_by(|later, earlier| later.is_mark() && earlier.kind == Kind::Stop);
    loop {
        let begin = opening(&tokens);
        tokens.drain(..begin);
        let end = closing(&tokens);
        tokens.truncate(end);
        let num_before = tokens.len();
        for i in (1..tokens.len().saturating_sub(1)).rev() {
            let asked =
                ["you", "can", "could", "would", "will"].contains(&tokens[i - 1].text.as_ref());
            if asked && tokens[i].is_word("please") {
                tokens.remove(i);
            }
        }
        if begin == 0 && tokens.len() == num_before && closing(&tokens) == num_before {
            settle::case(&mut tokens);
            return tokens;
        }
    }
}

/// How many tokens at the beginning are politeness.
fn opening(tokens: &[Token<'_>]) -> usize {
    let said = |phrase: &str| {
        let mut num = 0;
        for word in phrase.split(' ') {
            if !tokens.get(num)?.is_word(word) {
                return None;
            }
            num += 1;
        }
        Some(num)
    };
    let marks = tokens.iter().take_while(|token| token.is_mark()).count();
    if marks > 0 {
        return marks;
    }
    let after = |num: usize| tokens.get(num).filter(|_| tokens.len() > num + 1);
    if let [first, next, _, ..] = tokens
        && first.is_word("please")
        && next.is(Class::STARTER)
        && !next.is(Class::FUNCTION)
    {
        return 1;
    }
    let first = tokens.first().filter(|first| first.kind == Kind::Word);
    let known = first.and_then(|first| OPENINGS_BY_WORD.get(first.text.as_ref()));
    let openings = known
        .into_iter()
        .flatten()
        .filter_map(|phrase| Some((phrase, said(phrase)?)));
    let fitting = openings.filter(|(phrase, num)| {
        after(*num).is_some_and(|next| {
            let greets = phrase.starts_with('h') && *num < 3;
            let is_name = tokens
                .get(*num + 1)
                .is_some_and(|next| next.is_word("world"));
            let is_asked = next.kind == Kind::Comma && asks_for_it(&tokens[*num..]);
            next.is_mark() && !is_name && !is_asked
                || greets && GREETED.split(' ').any(|word| next.is_word(word))
        })
    });
    fitting.map(|(_, num)| num).max().unwrap_or(0)
}

/// Whether a question asks about what stands before it as a word, as in "Hello, how is it said in French?"
fn asks_for_it(question: &[Token<'_>]) -> bool {
    let is_it = |token: &Token<'_>| ["it", "this", "that"].contains(&token.text.as_ref());
    question.iter().any(|token| token.is(Class::META)) && question.iter().any(is_it)
}

/// Whether what stands behind a comma may be asked about as a word, as in "Which is kinder: hi, thanks?"
fn is_list(before: &[Token<'_>]) -> bool {
    let last = before.iter().rev().take_while(|token| !token.is_mark());
    last.count() < 2 || before.iter().any(|token| token.is(Class::META))
}

/// Where the politeness at the end begins.
fn closing(tokens: &[Token<'_>]) -> usize {
    let marks = tokens.iter().rev().take_while(|token| token.is_mark());
    let tokens = &tokens[..tokens.len() - marks.count()];
    let said = |phrase: &str| {
        let mut rest = tokens;
        for word in phrase.rsplit(' ') {
            let (last, before) = rest.split_last()?;
            if !last.is_word(word) {
                return None;
            }
            rest = before;
        }
        Some(rest.len())
    };
    let last = tokens.last().filter(|last| last.kind == Kind::Word);
    let known = last.and_then(|last| CLOSINGS_BY_WORD.get(last.text.as_ref()));
    let starts = known
        .into_iter()
        .flatten()
        .filter_map(|phrase| said(phrase));
    let fitting = starts.filter(|start| {
        let is_apart = |mark: &Token<'_>| {
            mark.kind == Kind::Stop || mark.kind == Kind::Comma && !is_list(&tokens[..start - 1])
        };
        *start > 1 && is_apart(&tokens[start - 1])
    });
    if let Some(start) = fitting.min() {
        return start;
    }
    match tokens {
        [.., before, last]
            if last.is_word("please")
                && tokens.len() > 5
                && before.kind == Kind::Word
                && !before.is(Class::FUNCTION)
                && !SAYS.split(' ').any(|word| before.is_word(word)) =>
        {
            tokens.len() - 1
        }
        _ => tokens.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        words::joined(&plain(text))
    }

    #[test]
    fn politeness_around_a_question_is_left_out() {
        for polite in [
            "Hi, how do I reset my phone? Thanks!",
            "Hello there! Quick question: how do I reset my phone?",
            "hey how do i reset my phone please",
            "Excuse me, how do I reset my phone? Many thanks in advance.",
            "How do I reset my phone, please?",
            "One more question: how do I reset my phone? Please advise.",
            "Could you help me? How do I reset my phone? I would be grateful.",
            "I wonder, how do I reset my phone?",
        ] {
            assert_eq!(text(polite), "how do i reset my phone", "{polite}");
        }
        assert_eq!(text("Can you please explain rain?"), "can you explain rain");
        assert_eq!(text("Please explain rain."), "explain rain");
    }

    #[test]
    fn words_of_politeness_that_are_asked_about_stay() {
        for (a, b) in [
            ("How do I say thanks", "How do I say please"),
            ("What is the German word please", "What is the German word"),
            ("Hello in French is what?", "Hi in French is what?"),
            ("Why do people give thanks?", "Why do people give?"),
            ("Please is what in French?", "Is what in French?"),
        ] {
            assert_ne!(text(a), text(b));
        }
    }
}
