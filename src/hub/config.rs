//! Where models are kept and fetched from: the environment, read once.

use std::path::PathBuf;
use std::time::Duration;

use super::HubError;

/// Folders, endpoints and patience of the hub.
#[derive(Debug, Clone)]
pub struct HubConfig {
    /// Own cache; a card's file is `models/<card id>/<file>` under it.
    pub cache_dir: PathBuf,
    /// Cache shared with the Python tools of the Hugging Face hub.
    pub hf_cache_dir: PathBuf,
    /// Base URL of the Hugging Face hub.
    pub hf_endpoint: String,
    /// Access token for the Hugging Face hub; if absent, the one that its command-line login left is used.
    pub hf_token: Option<String>,
    /// Where that login leaves it.
    pub hf_token_path: PathBuf,
    /// Base URL of the package index ("simple" API).
    pub pypi_index: String,
    /// Use the caches only.
    pub offline: bool,
    /// How long a source may take to connect (and the hub to answer its probe) before the next is tried.
    pub connect_timeout: Duration,
    /// How long a transfer may go without a byte.
    pub stall_timeout: Duration,
}

impl HubConfig {
    /// Reads the process's environment.
    ///
    /// | variable | effect | without it |
    /// |---|---|---|
    /// | `FLAMBEAU_CACHE` | own cache folder | `$XDG_CACHE_HOME/flambeau`, then `$HOME/.cache/flambeau` |
    /// | `HF_HOME` | the Python tools' folder | `$XDG_CACHE_HOME/huggingface`, then `$HOME/.cache/huggingface` |
    /// | `HF_HUB_CACHE` | the hub's cache | `hub` in that folder |
    /// | `HF_ENDPOINT` | the hub's base URL | `https://huggingface.co` |
    /// | `HF_TOKEN` | access token | the one in the file `$HF_TOKEN_PATH`, then in `token` in that folder |
    /// | `PIP_INDEX_URL` | the package index's base URL, as for pip | `https://pypi.org/simple` |
    /// | `FLAMBEAU_OFFLINE`, `HF_HUB_OFFLINE` | either true: caches only | false |
    ///
    /// An empty variable counts as absent. Errors: no folder to keep models in, or a switch that is neither true nor
    /// false.
    pub fn from_env() -> Result<HubConfig, HubError> {
        HubConfig::from_vars(|name| std::env::var(name).ok(), std::env::home_dir())
    }

    fn from_vars(
        var: impl Fn(&str) -> Option<String>,
        home: Option<PathBuf>,
    ) -> Result<HubConfig, HubError> {
        let var = |name: &str| var(name).filter(|value| !value.trim().is_empty());
        // A service's environment has no shell that would expand it; the Python tools do.
        let expanded = |path: String| match (path.strip_prefix("~/"), &home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(path),
        };
        let dir = |name| var(name).map(expanded);
        let url = |name, default: &str| {
            var(name)
                .unwrap_or_else(|| default.to_owned())
                .trim_end_matches('/')
                .to_owned()
        };
        let home_cache = home
            .as_ref()
            .filter(|home| !home.as_os_str().is_empty())
            .map(|home| home.join(".cache"));

        // The XDG base directory specification has relative paths ignored.
        let xdg = dir("XDG_CACHE_HOME").filter(|path| path.is_absolute());
        let user_cache = xdg.or(home_cache);
        let cache_dir = dir("FLAMBEAU_CACHE")
            .or_else(|| Some(user_cache.clone()?.join("flambeau")))
            .ok_or(HubError::NoCacheDir)?;
        let hf_home = dir("HF_HOME")
            .unwrap_or_else(|| user_cache.unwrap_or(cache_dir.clone()).join("huggingface"));
        Ok(HubConfig {
            hf_cache_dir: dir("HF_HUB_CACHE").unwrap_or_else(|| hf_home.join("hub")),
            hf_token_path: dir("HF_TOKEN_PATH").unwrap_or_else(|| hf_home.join("token")),
            cache_dir,
            hf_endpoint: url("HF_ENDPOINT", "https://huggingface.co"),
            hf_token: var("HF_TOKEN"),
            pypi_index: url("PIP_INDEX_URL", "https://pypi.org/simple"),
            offline: switch("FLAMBEAU_OFFLINE", var)? || switch("HF_HUB_OFFLINE", var)?,
            connect_timeout: Duration::from_secs(5),
            stall_timeout: Duration::from_secs(30),
        })
    }
}

fn switch(name: &'static str, var: impl Fn(&str) -> Option<String>) -> Result<bool, HubError> {
    let Some(value) = var(name) else {
        return Ok(false);
    };
    match value.to_ascii_lowercase().as_str() {
        "1" | "true" | "yes" | "on" => Ok(true),
        "0" | "false" | "no" | "off" => Ok(false),
        _ => Err(HubError::Setting {
            name,
            value,
            expected: "1 or 0",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(vars: &[(&str, &str)], home: Option<&str>) -> Result<HubConfig, HubError> {
        let find = |name: &str| {
            vars.iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| value.to_string())
        };
        HubConfig::from_vars(find, home.map(PathBuf::from))
    }

    #[test]
    fn the_cache_is_the_named_folder_then_xdg_then_home() {
        let vars = [
            ("FLAMBEAU_CACHE", "/a"),
            ("XDG_CACHE_HOME", "/x"),
            ("HF_HOME", "/hf"),
        ];
        let all = config(&vars, Some("/h")).unwrap();
        assert_eq!(
            (all.cache_dir, all.hf_cache_dir),
            ("/a".into(), "/hf/hub".into())
        );
        assert_eq!(all.hf_token_path, PathBuf::from("/hf/token"));
        let apart = [
            ("HF_HUB_CACHE", "/models"),
            ("HF_TOKEN_PATH", "/secret"),
            vars[1],
        ];
        let apart = config(&apart, Some("/h")).unwrap();
        assert_eq!(
            (apart.hf_cache_dir, apart.hf_token_path),
            ("/models".into(), "/secret".into())
        );
        let xdg = config(&vars[..2], Some("/h")).unwrap();
        assert_eq!(xdg.hf_cache_dir, PathBuf::from("/x/huggingface/hub"));
        assert_eq!(
            config(&vars[1..], Some("/h")).unwrap().cache_dir,
            PathBuf::from("/x/flambeau")
        );
        let home = config(
            &[("FLAMBEAU_CACHE", ""), ("XDG_CACHE_HOME", "relative")],
            Some("/h"),
        )
        .unwrap();
        assert_eq!(home.cache_dir, PathBuf::from("/h/.cache/flambeau"));
        assert_eq!(
            home.hf_cache_dir,
            PathBuf::from("/h/.cache/huggingface/hub")
        );
        assert!(config(&vars[..1], None).is_ok());
        assert!(matches!(config(&[], Some("")), Err(HubError::NoCacheDir)));
    }

    #[test]
    fn either_switch_means_offline_and_nonsense_is_an_error_naming_the_variable() {
        assert!(
            !config(&[("FLAMBEAU_OFFLINE", "0")], Some("/h"))
                .unwrap()
                .offline
        );
        assert!(
            config(&[("FLAMBEAU_OFFLINE", "1")], Some("/h"))
                .unwrap()
                .offline
        );
        assert!(
            config(&[("HF_HUB_OFFLINE", "YES")], Some("/h"))
                .unwrap()
                .offline
        );
        let error = config(&[("FLAMBEAU_OFFLINE", "maybe")], Some("/h"))
            .unwrap_err()
            .to_string();
        assert!(error.contains("FLAMBEAU_OFFLINE=\"maybe\""), "{error}");
    }

    #[test]
    fn endpoints_lose_their_trailing_slash() {
        let config = config(
            &[
                ("HF_ENDPOINT", "http://m/"),
                ("PIP_INDEX_URL", "http://p/simple/"),
            ],
            Some("/h"),
        )
        .unwrap();
        assert_eq!(
            (config.hf_endpoint.as_str(), config.pypi_index.as_str()),
            ("http://m", "http://p/simple")
        );
    }
}
