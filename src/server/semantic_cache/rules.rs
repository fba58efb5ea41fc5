//! What becomes of answers to questions like one before, by whose request it is and where it came in.

use std::collections::HashMap;

use crate::gateway::{Policy, SemanticMode};

/// See the module.
#[derive(Clone, Debug)]
pub struct SemanticRules {
    /// Where neither the tenant nor the route says.
    pub mode: SemanticMode,
    /// On these routes, where the tenant does not say.
    pub routes: HashMap<String, SemanticMode>,
    /// So many of the answers that are given again may be wrong, of 1.
    pub max_false_hit_rate: f64,
    /// So many of them are checked, of 1.
    pub shadow_rate: f64,
    /// Whether questions that speak of now are given answers again.
    pub time_words: bool,
}

impl Default for SemanticRules {
    fn default() -> Self {
        Self {
            mode: SemanticMode::default(),
            routes: HashMap::new(),
            max_false_hit_rate: 0.01,
            shadow_rate: 0.05,
            time_words: false,
        }
    }
}

impl SemanticRules {
    pub(super) fn mode(&self, policy: Policy, route: &str) -> SemanticMode {
        let of_route = || self.routes.get(route).copied();
        policy.semantic.or_else(of_route).unwrap_or(self.mode)
    }

    /// Whether answers are given again on any route.
    pub(super) fn may_serve(&self, policy: Policy) -> bool {
        let of_routes = self.routes.values().copied();
        let mut modes = of_routes.chain([self.mode]);
        match policy.semantic {
            Some(mode) => mode == SemanticMode::Serve,
            None => modes.any(|mode| mode == SemanticMode::Serve),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_tenant_says_counts_before_the_route_and_that_before_all() {
        let rules = SemanticRules {
            routes: HashMap::from([("/a".into(), SemanticMode::Serve)]),
            ..SemanticRules::default()
        };
        let of = |semantic| Policy {
            semantic,
            ..Policy::default()
        };
        assert_eq!(rules.mode(of(None), "/b"), SemanticMode::Draft);
        assert_eq!(rules.mode(of(None), "/a"), SemanticMode::Serve);
        let off = of(Some(SemanticMode::Off));
        assert_eq!(rules.mode(off, "/a"), SemanticMode::Off);
    }
}
