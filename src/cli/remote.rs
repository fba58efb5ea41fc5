//! The models that other servers serve.

use crate::config::RemoteSettings;
use crate::remote::{RemoteConfig, RemoteModel};
use crate::server::RemoteServed;
use crate::telemetry::{Telemetry, Tier};

/// As the settings say; nothing is asked yet.
///
/// # Errors
/// If the URL or the key cannot be used.
pub(super) fn served(
    settings: &RemoteSettings,
    telemetry: &Telemetry,
) -> anyhow::Result<RemoteServed> {
    let model = RemoteModel::new(RemoteConfig {
        url: settings.url.clone(),
        model: settings.model.clone(),
        api_key: settings.api_key.as_ref().map(|key| key.key.clone()),
        connect_timeout: settings.connect_timeout,
        first_token_timeout: settings.first_token_timeout,
        idle_timeout: settings.idle_timeout,
        max_retries: settings.max_retries,
    });
    let model = model.map_err(|error| anyhow::anyhow!("model {:?}: {error}", settings.name))?;
    Ok(RemoteServed {
        metrics: telemetry.requests(&settings.name, Tier::Primary),
        name: settings.name.clone(),
        aliases: settings.aliases.clone(),
        model,
    })
}
