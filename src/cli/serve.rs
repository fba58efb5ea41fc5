//! `flambeau serve`: from settings to a listening server, and back down on a signal.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::Context as _;
use clap::Args;
use tokio::net::{TcpListener, TcpSocket};

use super::caches;
use super::card_watch;
use super::drafts::DraftPlans;
use super::embeddings::embedding_model;
use super::loaded::Machine;
use super::planned::{PlannedModel, Plans};
use super::signals::Signals;
use super::{policy, remote, routing};
use crate::config::{self, Config, RawConfig, RemoteSettings, Typed};
use crate::gateway::{Router, StaticTexts};
use crate::hub::{Hub, HubConfig};
use crate::server::{
    ApiKey, AppState, Ended, Models, Served, ServedModel, ServerOptions, Tiers, serve,
};
use crate::telemetry::{RequestLog, Telemetry, log_line};

/// Serve a model over an OpenAI-compatible API
///
/// Every flag can also be set as a FLAMBEAU_… variable, or in the file that --config names.
#[derive(Args)]
pub struct ServeCommand {
    /// A TOML file with [server], [[models]], [tiers], [routing] and [[tenants]]
    #[arg(long, env = "FLAMBEAU_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print the memory plan and exit
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    raw: RawConfig,
}

impl ServeCommand {
    /// Serves until SIGTERM or SIGINT; exits 0 when everything open was finished or told.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let typed = match &self.config {
            Some(path) => self.raw.with_file(path)?,
            None => Typed::from(self.raw),
        };
        let config = typed.resolve()?;
        let router = config.routing.as_ref().map(routing::router).transpose()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()?;
        // Bound before the model is fetched, so that a port in use is known at once.
        let listener = match self.dry_run {
            true => None,
            false => {
                let _runtime = runtime.enter();
                Some(
                    listen(config.address)
                        .with_context(|| format!("{} cannot be listened on", config.address))?,
                )
            }
        };
        log_line(&format!("settings: {config:?}"));
        let plans = Plans::new(
            &config.models,
            &config.remotes,
            &Hub::new(HubConfig::from_env()?),
        )?;
        let drafts = DraftPlans::new(&config.drafts, &plans)?;
        let do_fit = plans.fit() && drafts.fit();
        match listener {
            None => {
                println!("{plans}{drafts}");
                Ok(match do_fit {
                    true => ExitCode::SUCCESS,
                    false => ExitCode::FAILURE,
                })
            }
            Some(_) if !do_fit => anyhow::bail!("there is no room:\n{plans}{drafts}"),
            Some(listener) => runtime.block_on(run(config, router, plans, drafts, listener)),
        }
    }
}

/// Listens with room for a crowd: tokio's own backlog of 1,024 drops connections when more come at once, which then wait
/// seconds for the kernel's retry.
fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(8192)
}

/// Loads the models and serves them.
async fn run(
    config: Config,
    router: Option<Router>,
    plans: Plans,
    drafts: DraftPlans,
    listener: TcpListener,
) -> anyhow::Result<ExitCode> {
    let mut stop = Signals::new()?;
    let telemetry = Telemetry::new().context("metrics")?;
    // What is wrong with it is said before models are loaded.
    let records = caches::store(&config.cache)?;
    let Plans(models) = plans;
    let here = models.iter().flat_map(PlannedModel::names);
    let elsewhere = config.remotes.iter().flat_map(RemoteSettings::names);
    let mut names: Vec<String> = here.chain(elsewhere).map(str::to_owned).collect();
    let remotes = config.remotes.iter();
    let remotes = remotes.map(|settings| remote::served(settings, &telemetry).map(Arc::new));
    let remotes: Vec<_> = remotes.collect::<anyhow::Result<_>>()?;
    let threads = config.models[0].threads;
    let embeddings = embedding_model(&config.embeddings, threads, &names, &telemetry)?;
    names.extend(embeddings.iter().map(|model| model.name.clone()));
    let routing = config
        .routing
        .as_ref()
        .zip(router)
        .map(|(settings, router)| {
            let (models, remotes) = (&models, &config.remotes);
            routing::routing(settings, router, models, remotes, &names, &telemetry)
        });
    let routing = routing.transpose()?.map(Arc::new);
    names.extend(config.routing.iter().map(|routing| routing.name.clone()));
    let mut machine = Machine::new(&models, drafts.plans, config.num_tenants() > 1);
    let (mut served, mut engines_ended, mut devices) = (Vec::new(), Vec::new(), Vec::new());
    let mut card_watches = Vec::new();
    for (i, model) in models.into_iter().enumerate() {
        let is_loaded_now = !model.settings.load_on_demand;
        match model.settings.is_on_demand() {
            // Its card is opened when it is loaded.
            true => card_watches.push(card_watch::start(&model.device, &telemetry)?),
            false => devices.push(model.device.clone()),
        }
        let taken: Vec<&str> = names.iter().map(String::as_str).collect();
        let adapters = model.settings.lora_modules.iter();
        let adapters: Vec<String> = adapters.map(|(name, _)| name.clone()).collect();
        let (model, ended) = model.load(
            weight(i, config.tiers.as_ref()),
            &taken,
            &mut machine,
            &telemetry,
        )?;
        if is_loaded_now {
            model
                .engine
                .load()
                .await
                .with_context(|| model.name.clone())?;
        }
        names.extend(adapters);
        served.push(Arc::new(model));
        engines_ended.push(ended);
    }
    let request_log = RequestLog::stdout().context("the request log's thread")?;
    let keys = config.api_keys.iter();
    let options = ServerOptions {
        api_keys: keys.map(|key| ApiKey::new(&key.name, &key.key)).collect(),
        shutdown_timeout: config.shutdown_timeout,
        min_cached_latency: config.cache.min_latency,
        request_log: request_log.clone(),
        ..ServerOptions::default()
    };
    greet(&listener, &served, !config.api_keys.is_empty())?;
    // A card that fails is opened anew once nobody holds it any more: from here on nobody does but its engine.
    for device in devices {
        card_watches.push(card_watch::start(&device, &telemetry)?);
    }
    let all = served.iter().cloned().map(Served::Here);
    let all: Vec<Served> = all
        .chain(remotes.iter().cloned().map(Served::Elsewhere))
        .collect();
    let tiers = config.tiers.map(|tiers| {
        let mut chain = tiers.chain.iter().map(|&i| all[i].clone());
        let first = chain.next().expect("a chain has a first: this is a bug");
        let texts = StaticTexts::new(tiers.texts.into_iter().map(policy::text).collect());
        let (others, slo) = (chain.collect(), tiers.slo_ttft);
        let all = Tiers::new(first, others, slo, texts, &telemetry);
        Arc::new(match tiers.recalls {
            true => all.recalling(),
            false => all,
        })
    });
    let answers = config.cache.exact;
    let answers = answers.map(|settings| caches::exact(settings, &served, &telemetry));
    let semantic = config.cache.semantic.as_ref().map(|settings| {
        let embeddings = (embeddings.as_ref(), &config.embeddings);
        caches::semantic(settings, &served, embeddings, threads, records, &telemetry)
    });
    let semantic = semantic.transpose()?;
    let first = served.remove(0);
    let state = AppState {
        models: Models::new(first, served, remotes),
        tiers,
        routing,
        tenants: Arc::new(policy::tenants(&config.tenants, &config.default_tenant)),
        answers,
        semantic,
        embeddings,
        options: Arc::new(options),
        prometheus: telemetry.handle(),
        started: SystemTime::now(),
    };
    let stopping = async move {
        stop.wait().await;
        // Asked twice, it does not wait for anything.
        tokio::spawn(async move {
            stop.wait().await;
            log_line("stopped at once");
            std::process::exit(130);
        });
    };
    let ended = serve(listener, state, engines_ended, stopping).await?;
    request_log.flush(Duration::from_secs(1));
    match ended {
        Ended::Stopped => {
            log_line("stopped");
            Ok(ExitCode::SUCCESS)
        }
        Ended::EngineFailed(why) => anyhow::bail!("the engine cannot go on: {why}"),
    }
}

/// Of the `i`th model on cores that it shares with others. Those that answer what the first one of a chain cannot are cheaper: the same time
/// answers more requests there, and overload is when both are busy.
fn weight(i: usize, tiers: Option<&config::Tiers>) -> u32 {
    let others = tiers.map_or(&[][..], |tiers| &tiers.chain[1..]);
    match others.contains(&i) {
        true => 2,
        false => 1,
    }
}

/// Says where it listens and how to try it.
fn greet(
    listener: &TcpListener,
    models: &[Arc<ServedModel>],
    has_keys: bool,
) -> anyhow::Result<()> {
    let address = listener.local_addr()?;
    let names: Vec<&str> = models.iter().map(|model| &*model.name).collect();
    let key = if has_keys {
        " -H 'Authorization: Bearer YOUR_KEY'"
    } else {
        ""
    };
    log_line(&format!(
        "serving {} on http://{address}; try:\n\n  curl -N http://{address}/v1/chat/completions{key} -H 'Content-Type: application/json' -d '{{\"model\": \"{}\", \"stream\": true, \"messages\": [{{\"role\": \"user\", \"content\": \"Why is the sky blue?\"}}]}}'\n",
        names.join(", "),
        names[0]
    ));
    Ok(())
}
