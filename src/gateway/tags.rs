//! What an answer depends on beside what was asked, by which it can be forgotten.

use serde::{Deserialize, Serialize};

/// Of one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tags {
    /// Of the model that gave it.
    pub model: String,
    /// Whose question it answered, as the client says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub users: Vec<String>,
    /// The tenant that shares it with all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_by: Option<String>,
    /// Of the prompt around the question.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt_version: Option<String>,
    /// Of what it was answered from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data_version: Option<String>,
    /// The documents that it was answered from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub documents: Vec<String>,
}

/// Which answers to forget: those that all of what is said is true of.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Selection {
    /// Whose, also where that one shares it.
    pub tenant: Option<String>,
    /// Of this model.
    pub model: Option<String>,
    /// Asked by this user.
    pub user: Option<String>,
    /// Of this version of the prompt.
    pub prompt_version: Option<String>,
    /// Of this version of the data.
    pub data_version: Option<String>,
    /// Answered from this document.
    pub document: Option<String>,
}

impl Tags {
    /// Bytes that they take beside themselves.
    pub fn num_bytes(&self) -> usize {
        let versions = [&self.shared_by, &self.prompt_version, &self.data_version];
        let lists = [&self.users, &self.documents];
        let texts = versions.into_iter().flatten();
        let texts = texts.chain(lists.into_iter().flatten());
        let own = lists.map(|list| size_of_val(&list[..]));
        texts.map(String::len).sum::<usize>() + self.model.len() + own.iter().sum::<usize>()
    }
}

impl Selection {
    /// Whether an answer of `tenant` with these tags is one of them.
    pub fn has(&self, tenant: &str, tags: &Tags) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| {
            wanted.is_none() || wanted.as_deref() == found
        };
        (is(&self.tenant, Some(tenant)) || is(&self.tenant, tags.shared_by.as_deref()))
            && is(&self.model, Some(&tags.model))
            && (self.user.as_ref()).is_none_or(|wanted| tags.users.contains(wanted))
            && is(&self.prompt_version, tags.prompt_version.as_deref())
            && is(&self.data_version, tags.data_version.as_deref())
            && (self.document.as_ref()).is_none_or(|wanted| tags.documents.contains(wanted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_chosen_where_all_that_is_said_is_true_of_it() {
        let tags = Tags {
            model: "m".into(),
            users: vec!["u".into()],
            shared_by: None,
            prompt_version: None,
            data_version: Some("7".into()),
            documents: vec!["a".into(), "b".into()],
        };
        let some = |text: &str| Some(text.to_owned());
        let all = Selection::default();
        assert!(all.has("t", &tags) && all.has("t", &Tags::default()));
        for chosen in [
            Selection {
                tenant: some("t"),
                ..all.clone()
            },
            Selection {
                model: some("m"),
                user: some("u"),
                ..all.clone()
            },
            Selection {
                document: some("b"),
                data_version: some("7"),
                ..all.clone()
            },
        ] {
            assert!(chosen.has("t", &tags), "{chosen:?}");
        }
        for chosen in [
            Selection {
                tenant: some("x"),
                ..all.clone()
            },
            Selection {
                model: some("m"),
                user: some("x"),
                ..all.clone()
            },
            Selection {
                prompt_version: some("1"),
                ..all.clone()
            },
            Selection {
                document: some("c"),
                ..all.clone()
            },
        ] {
            assert!(!chosen.has("t", &tags), "{chosen:?}");
        }
    }
}
