//! The whole system as real processes: PostgreSQL, the OIDC provider, the core, the worker in workerd.
//!
//! Any number of stacks run side by side: each has its own ports, folder, database and secrets.
//! Deliberately absent: what to do with a stack. The commands and the whole-stack tests decide that.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::{
    build,
    child::{Child, Output},
    http::wait_until_ready,
    options::ChosenPorts,
    ports::Port,
    postgres::{self, Postgres},
    project,
    secrets::{Secrets, random_text},
    step::{OrStepFailed as _, say},
    tools,
};

pub use crate::options::{Database, Issuer, Ports, StackInfo, StackOptions};

/// The audience of tokens in development: the client id of a client that exists nowhere else.
pub const DEV_AUDIENCE: &str = "pagenow-dev";

/// The one bucket of development's image store, and who may sign for it.
const IMAGES_BUCKET: &str = "profile-images";
const IMAGES_KEY_ID: &str = "pagenow-dev";

/// A running stack. Dropping it kills every process of it; [`Stack::stop`] ends them in order.
#[derive(Debug)]
pub struct Stack {
    options: StackOptions,
    info: StackInfo,
    secrets: Secrets,
    ports: ChosenPorts,
    worker: Option<Child>,
    core: Option<Child>,
    oidc: Option<Child>,
    /// The proxy before the image store, which answers preflights.
    images: Option<Child>,
    image_store: Option<Child>,
    image_key: String,
    postgres: Option<Postgres>,
    /// The cluster's URL and the name of the database to drop at the end.
    to_drop: Option<(String, String)>,
}

impl Stack {
    /// Builds what is not built, starts everything and returns once the edge answers.
    pub async fn start(options: StackOptions) -> Result<Self> {
        // Before the builds, which take minutes: a port in use is known at once.
        let ports = ChosenPorts::choose(&options)?;
        build::both().await?;
        Self::start_on(ports, options).await
    }

    /// The same where both servers are built.
    pub async fn start_built(options: StackOptions) -> Result<Self> {
        Self::start_on(ChosenPorts::choose(&options)?, options).await
    }

    async fn start_on(ports: ChosenPorts, options: StackOptions) -> Result<Self> {
        tools::ensure_npm_packages().await?;
        project::make_dir(&options.dir)?;
        let secrets = Secrets::load_or_make(&options.dir.join("secrets.json"))?;
        for name in ["core", "edge", "image-store", "images", "migrate", "oidc", "postgres"] {
            project::remove(&options.dir.join("logs").join(format!("{name}.log")))?;
        }
        let (postgres, to_drop, database_url) = Self::start_database(&options, &ports).await?;
        let (oidc, issuer) = match &ports.oidc {
            Some(port) => start_oidc(&options.dir, port).await.map(|(child, issuer)| (Some(child), issuer))?,
            None => (None, options.issuer.clone().context("no issuer is named")?),
        };
        let images = match &ports.images {
            Some((proxy, store)) => Some(start_images(&options.dir, proxy, store).await?),
            None => None,
        };
        let info = StackInfo {
            edge_url: ports.edge.url(),
            core_url: ports.core.url(),
            issuer: issuer.issuer,
            jwks_url: issuer.jwks_url,
            audience: issuer.audience,
            database_url,
        };
        let mut stack = Self {
            options,
            info,
            secrets,
            ports,
            worker: None,
            core: None,
            oidc,
            images,
            image_store: None,
            image_key: random_text(),
            postgres,
            to_drop,
        };
        stack.migrate().await?;
        stack.start_core().await?;
        stack.start_worker().await?;
        Ok(stack)
    }

    /// Where everything is.
    pub fn info(&self) -> &StackInfo {
        &self.info
    }

    /// The folder of the children's logs.
    pub fn logs(&self) -> PathBuf {
        self.options.dir.join("logs")
    }

    async fn start_database(
        options: &StackOptions,
        ports: &ChosenPorts,
    ) -> Result<(Option<Postgres>, Option<(String, String)>, String)> {
        match &options.database {
            Database::Given(url) => Ok((None, None, url.clone())),
            Database::NewIn(cluster) => {
                let name = format!("stack_{:016x}", rand::random::<u64>());
                let advice = "see that the PostgreSQL DATABASE_URL names runs, and that its user may create databases";
                let step = "Making a database for this stack";
                let url = postgres::create_database(cluster, &name).await.or_step_failed(step, advice)?;
                Ok((None, Some((cluster.clone(), name)), url))
            }
            Database::Own(durability) => {
                say("Starting PostgreSQL");
                let port = ports.postgres.as_ref().context("no port is chosen")?;
                let log = options.dir.join("logs/postgres.log");
                let advice = "start afresh with `cargo xtask dev --reset`, or set DATABASE_URL to a PostgreSQL of your \
                              own (15 or newer)";
                let postgres = Postgres::start(&options.dir.join("postgres"), port, *durability, &[], log)
                    .await
                    .or_step_failed("Starting PostgreSQL", advice)?;
                let url = postgres.url().to_owned();
                Ok((Some(postgres), None, url))
            }
        }
    }

    async fn migrate(&self) -> Result<()> {
        const STEP: &str = "Running the migrations";
        const ADVICE: &str = "with DATABASE_URL, see that it names a database that can be reached. Is it one from \
                              another version of the migrations? Then start afresh with `cargo xtask dev --reset`, \
                              or name an empty one";
        say(STEP);
        let log = Output::Log(self.logs().join("migrate.log"));
        let mut child = Child::start("core-api migrate", self.core_command("migrate"), log)?;
        let status = child.wait().await?;
        if !status.success() {
            return Err(anyhow::anyhow!(child.obituary(status))).or_step_failed(STEP, ADVICE);
        }
        Ok(())
    }

    fn core_command(&self, what: &str) -> tokio::process::Command {
        let info = &self.info;
        let mut core = project::command(build::core_program());
        core.arg(what).envs(self.options.vars.iter().map(|(name, value)| (name, value)));
        // An error is told in words; where it passed through would bury them.
        core.env("RUST_LIB_BACKTRACE", "0");
        core.env("DATABASE_URL", &info.database_url);
        core.env("LISTEN_ADDR", format!("127.0.0.1:{}", self.ports.core.number()));
        core.env("METRICS_ADDR", format!("127.0.0.1:{}", self.ports.metrics.number()));
        core.env("OIDC_ISSUER", &info.issuer).env("OIDC_JWKS_URL", &info.jwks_url);
        core.env("OIDC_AUDIENCE", &info.audience).env("EDGE_URL", &info.edge_url);
        core.env("EVENT_SIGNING_SECRET", &self.secrets.event_signing_secret);
        core.env("SERVICE_TOKEN_SECRET", &self.secrets.service_token_secret);
        // Unless another store is named.
        if let Some((proxy, _)) = &self.ports.images
            && !self.options.vars.iter().any(|(name, _)| name == "PROFILE_IMAGES_BUCKET")
        {
            core.env("PROFILE_IMAGES_BUCKET", IMAGES_BUCKET).env("AWS_ENDPOINT_URL", proxy.url());
            core.env("AWS_ACCESS_KEY_ID", IMAGES_KEY_ID).env("AWS_SECRET_ACCESS_KEY", &self.image_key);
        }
        core
    }

    /// Starts the core, which must not be running, and waits until it is ready.
    pub async fn start_core(&mut self) -> Result<()> {
        const STEP: &str = "Starting core-api";
        const ADVICE: &str = "read its words above; `core-api serve --help` explains its configuration";
        if self.core.is_some() {
            bail!("the core is running");
        }
        say(STEP);
        let log = Output::Log(self.logs().join("core.log"));
        let mut child = Child::start("core-api", self.core_command("serve"), log).or_step_failed(STEP, ADVICE)?;
        let ready = format!("{}/readyz", self.info.core_url);
        wait_until_ready(&ready, &mut child, Duration::from_secs(60)).await.or_step_failed(STEP, ADVICE)?;
        self.core = Some(child);
        Ok(())
    }

    /// Starts the image store behind its proxy, with this program. Without one, uploads are answered 503.
    pub fn start_image_store(&mut self, program: &Path) -> Result<()> {
        let Some((_, store)) = &self.ports.images else { return Ok(()) };
        let root = self.options.dir.join("images");
        project::make_dir(&root.join(IMAGES_BUCKET))?;
        let mut command = project::command(program);
        command.args(["--host", "127.0.0.1", "--port", &store.number().to_string()]);
        command.args(["--access-key", IMAGES_KEY_ID, "--secret-key", &self.image_key]).arg(fs::canonicalize(root)?);
        let log = Output::Log(self.logs().join("image-store.log"));
        self.image_store = Some(Child::start("the image store", command, log)?);
        Ok(())
    }

    /// Ends the core as a deployment does, and waits until it has gone.
    pub async fn stop_core(&mut self) {
        if let Some(core) = self.core.take() {
            core.end(Signal::TERM, Duration::from_secs(30)).await;
        }
    }

    /// Ends the core as a crash does.
    pub async fn kill_core(&mut self) {
        if let Some(core) = self.core.take() {
            core.kill().await;
        }
    }

    /// Starts the worker, which must not be running, on the storage it had, and waits until it answers.
    pub async fn start_worker(&mut self) -> Result<()> {
        const STEP: &str = "Starting the worker";
        const ADVICE: &str = "read wrangler's words above; `cargo xtask build-edge` builds the worker by itself";
        if self.worker.is_some() {
            bail!("the worker is running");
        }
        say(STEP);
        let command = self.worker_command().await.or_step_failed(STEP, ADVICE)?;
        let log = Output::Log(self.logs().join("edge.log"));
        let mut child = Child::start("wrangler dev", command, log).or_step_failed(STEP, ADVICE)?;
        let ready = format!("{}/healthz", self.info.edge_url);
        wait_until_ready(&ready, &mut child, Duration::from_secs(90)).await.or_step_failed(STEP, ADVICE)?;
        self.worker = Some(child);
        Ok(())
    }

    async fn worker_command(&self) -> Result<tokio::process::Command> {
        let info = &self.info;
        let dir = fs::canonicalize(&self.options.dir)?;
        // In a file, because every user of the machine can read arguments.
        let secrets = dir.join("edge.env");
        let Secrets { event_signing_secret, service_token_secret } = &self.secrets;
        let lines =
            format!("EVENT_SIGNING_SECRETS='{event_signing_secret}'\nSERVICE_TOKEN_SECRET='{service_token_secret}'\n");
        project::write_private(&secrets, &lines)?;

        let mut wrangler = project::command(tools::node().await?);
        wrangler.arg(tools::npm_file("wrangler/bin/wrangler.js")).args(["dev", "--ip", "127.0.0.1"]);
        wrangler.args(["--port", &self.ports.edge.number().to_string(), "--inspector-port", "0"]);
        wrangler.args(["--show-interactive-dev-session=false", "--persist-to"]).arg(dir.join("edge"));
        wrangler.arg("--env-file").arg(secrets);
        let own = [
            ("CORE_URL", &info.core_url),
            ("OIDC_ISSUER", &info.issuer),
            ("OIDC_JWKS_URL", &info.jwks_url),
            ("OIDC_AUDIENCE", &info.audience),
        ];
        for (name, value) in own {
            wrangler.args(["--var", &format!("{name}:{value}")]);
        }
        for (name, value) in &self.options.vars {
            wrangler.args(["--var", &format!("{name}:{value}")]);
        }
        // Nothing is told to anybody, asked of the network, or written outside the stack's folder.
        wrangler.env("WRANGLER_SEND_METRICS", "false").env("CLOUDFLARE_CF_FETCH_ENABLED", "false");
        wrangler.env("WRANGLER_LOG_PATH", dir.join("logs/wrangler"));
        wrangler.env("WRANGLER_REGISTRY_PATH", dir.join("wrangler/registry"));
        wrangler.env("XDG_CONFIG_HOME", dir.join("wrangler")).env("NO_COLOR", "1").env("CI", "true");
        let rebuild = match self.options.watch {
            // This very program: cargo, asked to run it, might first wait for others that build.
            true => format!("'{}' build-edge", std::env::current_exe()?.display()),
            false => "true".to_owned(),
        };
        wrangler.env("PAGENOW_BUILD_EDGE", rebuild);
        Ok(wrangler)
    }

    /// Ends the worker as a crash does: no close frames, no last words. Its objects' storage stays.
    pub async fn kill_worker(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.kill().await;
        }
    }

    /// Waits until one of the children ends by itself, and says which, and how.
    pub async fn child_ended(&mut self) -> Result<String> {
        let Self { worker, core, oidc, images, image_store, postgres, .. } = self;
        tokio::select! {
            obituary = obituary(worker) => obituary,
            obituary = obituary(core) => obituary,
            obituary = obituary(oidc) => obituary,
            obituary = obituary(images) => obituary,
            obituary = obituary(image_store) => obituary,
            obituary = async {
                match postgres {
                    Some(postgres) => postgres.wait().await.map(|status| postgres.obituary(status)),
                    None => std::future::pending().await,
                }
            } => obituary,
        }
    }

    /// Ends every child in order, those first that use the others, and drops the database made for this stack.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(worker) = self.worker.take() {
            worker.end(Signal::TERM, Duration::from_secs(5)).await;
        }
        self.stop_core().await;
        for child in [self.oidc.take(), self.images.take(), self.image_store.take()].into_iter().flatten() {
            child.end(Signal::TERM, Duration::from_secs(2)).await;
        }
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await;
        }
        if let Some((cluster, name)) = self.to_drop.take() {
            postgres::drop_database(&cluster, &name).await.context("cannot drop the stack's database")?;
        }
        Ok(())
    }
}

/// Starts the OIDC provider of development, whose key and log are kept in `dir`.
pub async fn start_oidc(dir: &Path, port: &Port) -> Result<(Child, Issuer)> {
    const STEP: &str = "Starting the OIDC provider";
    const ADVICE: &str = "read its words above; `--reset` makes it a new key";
    say(STEP);
    let mut node = project::command(tools::node().await?);
    node.arg(project::root().join("dev/oidc.mjs")).arg(port.number().to_string());
    node.arg(dir.join("oidc-key.json")).arg(DEV_AUDIENCE);
    let log = Output::Log(dir.join("logs/oidc.log"));
    let mut child = Child::start("the OIDC provider", node, log).or_step_failed(STEP, ADVICE)?;
    let jwks_url = format!("{}/jwks", port.url());
    let patience = Duration::from_secs(30);
    wait_until_ready(&jwks_url, &mut child, patience).await.or_step_failed(STEP, ADVICE)?;
    Ok((child, Issuer { issuer: port.url(), jwks_url, audience: DEV_AUDIENCE.to_owned() }))
}

/// Starts the proxy before the image store, whose log is kept in `dir`. It answers at once, and 503 until there is a store.
async fn start_images(dir: &Path, proxy: &Port, store: &Port) -> Result<Child> {
    const STEP: &str = "Starting the proxy before the image store";
    let mut node = project::command(tools::node().await?);
    node.arg(project::root().join("dev/image-store.mjs"));
    node.args([proxy.number().to_string(), store.number().to_string()]);
    let log = Output::Log(dir.join("logs/images.log"));
    Child::start("the proxy before the image store", node, log).or_step_failed(STEP, "read its words above")
}

async fn obituary(child: &mut Option<Child>) -> Result<String> {
    match child {
        Some(child) => child.wait().await.map(|status| child.obituary(status)),
        None => std::future::pending().await,
    }
}
