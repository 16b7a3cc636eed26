//! Runs the whole system as real processes: PostgreSQL, the OIDC provider, the core, and the worker.
//!
//! Any number of stacks can run side by side. Each has its own ports, folder, database and secrets.
//!
//! Deliberately absent: what a stack is used for. Commands, tests and benchmarks decide that.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rustix::process::Signal;

use crate::{
    build::{self, BUILT},
    child::{Child, Output},
    client::{self, Constants, Server},
    core::{Core, Roles},
    http::wait_until_ready,
    issuer,
    options::ChosenPorts,
    ports::Port,
    postgres::{self, Postgres},
    project,
    secrets::{Secrets, random_text},
    step::{OrStepFailed as _, say},
    tools,
    workerd::{self, Worker},
};

pub use crate::{
    issuer::Issuer,
    options::{Database, Edge, Ports, StackInfo, StackOptions},
};

/// The one bucket of development's image store, and the id of the access key for it.
const IMAGES_BUCKET: &str = "profile-images";
const IMAGES_KEY_ID: &str = "pagenow-dev";

/// A running stack. [`Stack::stop`] ends its processes in order. Dropping it kills them.
#[derive(Debug)]
pub struct Stack {
    options: StackOptions,
    info: StackInfo,
    secrets: Secrets,
    core: Core,
    /// The worker's port. `None` if the stack does not run the worker.
    edge_port: Option<Port>,
    worker: Option<Child>,
    oidc: Option<Child>,
    images: Option<Images>,
    postgres: Option<Postgres>,
    /// The cluster's URL, and the name of the database to drop at the end.
    to_drop: Option<(String, String)>,
}

/// Development's store of profile images.
#[derive(Debug)]
struct Images {
    url: String,
    /// The proxy in front of the store, which answers preflights.
    proxy: Child,
    store_port: Port,
    store: Option<Child>,
    key: String,
}

impl Stack {
    /// Builds both servers if necessary, starts everything, and returns when the edge answers.
    pub async fn start(options: StackOptions) -> Result<Self> {
        // Ports are chosen before the builds, which take minutes, so that a port in use is reported at once.
        let ports = ChosenPorts::choose(&options)?;
        if std::env::var_os(BUILT).is_none() {
            let edge = async { if ports.edge.is_some() { build::edge(options.build).await } else { Ok(()) } };
            // Both run at the same time: npm installs while the core compiles. cargo lets one of two builds wait for the other.
            tokio::try_join!(build::core(options.build), edge)?;
        }
        Self::start_on(ports, options).await
    }

    /// The same, but both servers must be built already.
    pub async fn start_built(options: StackOptions) -> Result<Self> {
        Self::start_on(ChosenPorts::choose(&options)?, options).await
    }

    async fn start_on(ports: ChosenPorts, options: StackOptions) -> Result<Self> {
        tools::ensure_npm_packages().await?;
        let logs = options.dir.join("logs");
        project::make_dir(&logs)?;
        let secrets = Secrets::load_or_make(&options.dir.join("secrets.json"))?;
        for name in ["core", "edge", "image-store", "images", "migrate", "oidc", "postgres"] {
            project::remove(&logs.join(format!("{name}.log")))?;
        }
        let ChosenPorts { core, metrics, edge, oidc, postgres, images } = ports;
        let (postgres, to_drop, database_url) = start_database(&options, postgres.as_ref()).await?;
        let (oidc, issuer) = match &oidc {
            Some(port) => issuer::start(&options.dir, port).await.map(|(child, issuer)| (Some(child), issuer))?,
            None => (None, options.issuer.clone().context("no issuer is named")?),
        };
        let edge_url = match (&edge, &options.edge) {
            (Some(port), _) => port.url(),
            (None, Edge::Elsewhere(url)) => url.clone(),
            (None, _) => bail!("no port is chosen for the edge"),
        };
        let mut settings = vec![
            ("OIDC_ISSUER", issuer.issuer.clone()),
            ("OIDC_JWKS_URL", issuer.jwks_url.clone()),
            ("OIDC_AUDIENCE", issuer.audience.clone()),
            ("EDGE_URL", edge_url.clone()),
            ("EVENT_SIGNING_SECRET", secrets.event_signing_secret.clone()),
            ("SERVICE_TOKEN_SECRET", secrets.service_token_secret.clone()),
        ];
        let images = match images {
            Some((proxy, store_port)) => {
                let key = random_text();
                // The store is used unless the options name another one.
                if !options.vars.iter().any(|(name, _)| name == "PROFILE_IMAGES_BUCKET") {
                    settings.extend([
                        ("PROFILE_IMAGES_BUCKET", IMAGES_BUCKET.to_owned()),
                        ("AWS_ENDPOINT_URL", proxy.url()),
                        ("AWS_ACCESS_KEY_ID", IMAGES_KEY_ID.to_owned()),
                        ("AWS_SECRET_ACCESS_KEY", key.clone()),
                    ]);
                }
                let url = proxy.url();
                let proxy = start_images(&options.dir, &proxy, &store_port).await?;
                Some(Images { url, proxy, store_port, store: None, key })
            }
            None => None,
        };
        let settings = settings.into_iter().map(|(name, value)| (name.to_owned(), value));
        let settings = options.vars.iter().cloned().chain(settings).collect();
        let roles = match (&options.database, &to_drop) {
            (Database::Given(_), _) => None,
            // Roles belong to the cluster, which other stacks use too, so their names must be unique.
            (Database::NewIn(_), Some((_, name))) => Some(Roles::named(name)),
            (Database::NewIn(_), None) | (Database::Own { .. }, _) => Some(Roles::named("pagenow")),
        };
        let core = Core::new(options.build.core_program(), core, metrics, settings, roles, logs);
        let info = StackInfo { edge_url, core_url: core.url(), issuer, database_url };
        let mut stack =
            Self { options, info, secrets, core, edge_port: edge, worker: None, oidc, images, postgres, to_drop };
        stack.core.migrate(&stack.info.database_url).await?;
        stack.start_core().await?;
        if stack.edge_port.is_some() {
            stack.start_worker().await?;
        }
        Ok(stack)
    }

    /// The addresses of the stack.
    pub fn info(&self) -> &StackInfo {
        &self.info
    }

    /// The secrets that edge and core share, as the worker has them.
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// The folder of the children's logs.
    pub fn logs(&self) -> PathBuf {
        self.options.dir.join("logs")
    }

    /// Migrates the database to the newest schema, as a deployment does.
    pub async fn migrate(&self, database_url: &str) -> Result<()> {
        self.core.migrate(database_url).await
    }

    /// Runs a command of the core on the stack's database, as an operator does.
    pub async fn operate(&self, command: &[&str]) -> Result<()> {
        self.core.operate(command, &self.info.database_url).await
    }

    /// Starts the core, which must not be running, and waits until it is ready.
    pub async fn start_core(&mut self) -> Result<()> {
        self.core.start(&self.info.database_url).await
    }

    /// Ends the core. From its next start on, it serves from another database.
    pub async fn move_core_to(&mut self, database_url: String) {
        self.core.stop().await;
        self.info.database_url = database_url;
    }

    /// Gives the core these secrets, from its next start on.
    pub fn give_core(&mut self, secrets: &Secrets) {
        self.core.tell("EVENT_SIGNING_SECRET", &secrets.event_signing_secret);
        self.core.tell("SERVICE_TOKEN_SECRET", &secrets.service_token_secret);
    }

    /// Gives the worker these secrets, from its next start on.
    pub fn give_worker(&mut self, secrets: Secrets) {
        self.secrets = secrets;
    }

    /// Starts the image store behind its proxy, with this program. While no store runs, the proxy answers uploads with 503.
    pub fn start_image_store(&mut self, program: &Path) -> Result<()> {
        let Some(images) = &mut self.images else { return Ok(()) };
        let root = self.options.dir.join("images");
        project::make_dir(&root.join(IMAGES_BUCKET))?;
        let mut command = project::command(program);
        command.args(["--host", "127.0.0.1", "--port", &images.store_port.number().to_string()]);
        command.args(["--access-key", IMAGES_KEY_ID, "--secret-key", &images.key]).arg(fs::canonicalize(root)?);
        let log = Output::Log(self.options.dir.join("logs/image-store.log"));
        images.store = Some(Child::start("the image store", command, log)?);
        Ok(())
    }

    /// Ends the core as a deployment does, and waits until it has ended.
    pub async fn stop_core(&mut self) {
        self.core.stop().await;
    }

    /// Kills the core, like a crash.
    pub async fn kill_core(&mut self) {
        self.core.kill().await;
    }

    /// Starts the worker, which must not be running, and waits until it answers. Its objects keep their storage.
    pub async fn start_worker(&mut self) -> Result<()> {
        const STEP: &str = "Starting the worker";
        const ADVICE: &str = "read its words above; `cargo xtask build-edge` builds the worker by itself";
        if self.worker.is_some() {
            bail!("the worker is running");
        }
        let port = self.edge_port.as_ref().context("the worker is somebody else's")?;
        say(STEP);
        let worker = match &self.options.edge {
            Edge::Wrangler { rebuild } => self.start_wrangler(port, rebuild.as_deref()).await,
            Edge::Workerd | Edge::Elsewhere(_) => self.start_workerd(port).await,
        };
        self.worker = Some(worker.or_step_failed(STEP, ADVICE)?);
        Ok(())
    }

    /// The constants for a client of this stack.
    fn constants(&self) -> Constants {
        let StackInfo { edge_url, issuer, .. } = &self.info;
        Constants {
            origin: edge_url.clone(),
            issuer: issuer.issuer.clone(),
            client_id: issuer.audience.clone(),
            // Without a store there are no images, so any origin will do.
            images: self.images.as_ref().map_or_else(|| edge_url.clone(), |images| images.url.clone()),
            sign_in: None,
        }
    }

    /// Builds the client for this stack, and puts its page where wrangler serves it from.
    ///
    /// # Errors
    ///
    /// If it does not compile.
    pub async fn build_client(&self) -> Result<()> {
        self.constants().build(Server::Cloudflare, &self.client(), &self.options.dir.join("assets")).await
    }

    /// The folder of the client that was built for this stack. It holds `app`, `chromium` and `firefox`.
    pub fn client(&self) -> PathBuf {
        self.options.dir.join("client")
    }

    /// The worker's environment variables, without secrets.
    fn worker_variables(&self) -> Vec<(&str, &str)> {
        let StackInfo { core_url, issuer, .. } = &self.info;
        let own = [
            ("CORE_URL", core_url.as_str()),
            ("OIDC_ISSUER", &issuer.issuer),
            ("OIDC_JWKS_URL", &issuer.jwks_url),
            ("OIDC_AUDIENCE", &issuer.audience),
        ];
        own.into_iter().chain(self.options.vars.iter().map(|(name, value)| (name.as_str(), value.as_str()))).collect()
    }

    fn worker_secrets(&self) -> [(&'static str, &str); 2] {
        let Secrets { event_signing_secret, service_token_secret } = &self.secrets;
        [("EVENT_SIGNING_SECRETS", event_signing_secret), ("SERVICE_TOKEN_SECRET", service_token_secret)]
    }

    async fn start_workerd(&self, port: &Port) -> Result<Child> {
        let dir = self.options.dir.join("worker");
        Worker::ours(&project::root().join("edge-worker")).write(&dir)?;
        let mut variables = self.worker_variables();
        variables.extend(self.worker_secrets());
        let log = self.logs().join("edge.log");
        workerd::start("the worker", &dir, &self.options.dir.join("objects"), port, &variables, log).await
    }

    async fn start_wrangler(&self, port: &Port, rebuild: Option<&str>) -> Result<Child> {
        const PATIENCE: Duration = Duration::from_secs(90);
        let dir = fs::canonicalize(&self.options.dir)?;
        self.build_client().await?;
        // Secrets are passed in a file, because every user of the machine can read a process's arguments.
        let secrets = dir.join("edge.env");
        let lines = self.worker_secrets().map(|(name, value)| format!("{name}='{value}'\n"));
        project::write_private(&secrets, &lines.concat())?;

        let mut wrangler = project::command(tools::node().await?);
        wrangler.arg(tools::npm_file("wrangler/bin/wrangler.js")).args(["dev", "--ip", "127.0.0.1"]);
        wrangler.args(["--port", &port.number().to_string(), "--inspector-port", "0"]);
        wrangler.args(["--show-interactive-dev-session=false", "--persist-to"]).arg(dir.join("edge"));
        wrangler.arg("--env-file").arg(secrets).arg("--assets").arg(dir.join("assets"));
        let variables = self.worker_variables();
        for (name, value) in &variables {
            wrangler.args(["--var", &format!("{name}:{value}")]);
        }
        if let Some(origin) = client::extension_origin(&self.client())
            && !variables.iter().any(|(name, _)| *name == "CORS_ORIGINS")
        {
            let origins = workerd::setting("CORS_ORIGINS")?;
            wrangler.args(["--var", &format!("CORS_ORIGINS:{origins},{origin}")]);
        }
        // With these, wrangler sends no metrics, fetches nothing, and writes nothing outside the stack's folder.
        wrangler.env("WRANGLER_SEND_METRICS", "false").env("CLOUDFLARE_CF_FETCH_ENABLED", "false");
        wrangler.env("WRANGLER_LOG_PATH", dir.join("logs/wrangler"));
        wrangler.env("WRANGLER_REGISTRY_PATH", dir.join("wrangler/registry"));
        wrangler.env("XDG_CONFIG_HOME", dir.join("wrangler")).env("NO_COLOR", "1").env("CI", "true");
        wrangler.env("PAGENOW_BUILD_EDGE", rebuild.unwrap_or("true"));
        let mut child = Child::start("wrangler dev", wrangler, Output::Log(self.logs().join("edge.log")))?;
        wait_until_ready(&format!("{}/healthz", port.url()), &mut child, PATIENCE).await?;
        Ok(child)
    }

    /// Kills the worker, like a crash: it sends no close frames. Its objects' storage stays.
    pub async fn kill_worker(&mut self) {
        if let Some(worker) = self.worker.take() {
            worker.kill().await;
        }
    }

    /// Waits until one of the children ends by itself. The text says which one, and how.
    pub async fn child_ended(&mut self) -> Result<String> {
        let Self { worker, core, oidc, images, postgres, .. } = self;
        let (proxy, store) = match images {
            Some(Images { proxy, store, .. }) => (Some(proxy), store.as_mut()),
            None => (None, None),
        };
        tokio::select! {
            exit_report = exit_report(worker.as_mut()) => exit_report,
            exit_report = exit_report(core.process()) => exit_report,
            exit_report = exit_report(oidc.as_mut()) => exit_report,
            exit_report = exit_report(proxy) => exit_report,
            exit_report = exit_report(store) => exit_report,
            exit_report = async {
                match postgres {
                    Some(postgres) => postgres.wait().await.map(|status| postgres.exit_report(status)),
                    None => std::future::pending().await,
                }
            } => exit_report,
        }
    }

    /// Ends every child in order, each before those that it uses, and drops the database that was made for this stack.
    pub async fn stop(mut self) -> Result<()> {
        if let Some(worker) = self.worker.take() {
            worker.end(Signal::TERM, Duration::from_secs(5)).await;
        }
        self.core.stop().await;
        let (proxy, store) = self.images.take().map_or((None, None), |images| (Some(images.proxy), images.store));
        for child in [self.oidc.take(), proxy, store].into_iter().flatten() {
            child.end(Signal::TERM, Duration::from_secs(2)).await;
        }
        if let Some(postgres) = self.postgres.take() {
            postgres.stop().await;
        }
        if let Some((cluster, name)) = self.to_drop.take() {
            postgres::drop_database(&cluster, &name).await.context("cannot drop the stack's database")?;
            postgres::drop_roles(&cluster, &Roles::named(&name).names()).await.context("cannot drop its roles")?;
        }
        Ok(())
    }
}

/// Starts or creates the database. Returns the cluster if it is the stack's own, what to drop at the end, and the database's URL.
async fn start_database(
    options: &StackOptions,
    port: Option<&Port>,
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
        Database::Own { durability, settings } => {
            const STEP: &str = "Starting PostgreSQL";
            const ADVICE: &str =
                "start afresh with `--reset`, or set DATABASE_URL to a PostgreSQL of your own (15 or newer)";
            say(STEP);
            let port = port.context("no port is chosen")?;
            let log = options.dir.join("logs/postgres.log");
            let dir = options.dir.join("postgres");
            let postgres =
                Postgres::start(&dir, port, *durability, settings, log).await.or_step_failed(STEP, ADVICE)?;
            let url = postgres.url().to_owned();
            Ok((Some(postgres), None, url))
        }
    }
}

/// Starts the proxy in front of the image store, with its log in `dir`. It answers 503 until there is a store.
async fn start_images(dir: &Path, proxy: &Port, store: &Port) -> Result<Child> {
    const STEP: &str = "Starting the proxy before the image store";
    let mut node = project::command(tools::node().await?);
    node.arg(project::root().join("dev/image-store.mjs"));
    node.args([proxy.number().to_string(), store.number().to_string()]);
    let log = Output::Log(dir.join("logs/images.log"));
    Child::start("the proxy before the image store", node, log).or_step_failed(STEP, "read its words above")
}

async fn exit_report(child: Option<&mut Child>) -> Result<String> {
    match child {
        Some(child) => child.wait().await.map(|status| child.exit_report(status)),
        None => std::future::pending().await,
    }
}
