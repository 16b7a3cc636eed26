//! The options of a stack, and the description of a running one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::{build::Profile, issuer::Issuer, ports::Port, postgres::Durability};

/// The description of a running stack: the content of `stack.json`. It holds the database's password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StackInfo {
    /// The one public origin, without a slash at its end.
    pub edge_url: String,
    /// The URL of the core, which clients never call directly.
    pub core_url: String,
    #[serde(flatten)]
    pub issuer: Issuer,
    pub database_url: String,
}

impl StackInfo {
    /// Reads the description from the file that a running stack keeps.
    pub fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        serde_json::from_str(&text).with_context(|| format!("{} is no description of a stack", path.display()))
    }
}

/// Ports of 127.0.0.1. 0 stands for any free port.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ports {
    pub edge: u16,
    pub core: u16,
    pub metrics: u16,
    pub oidc: u16,
    pub postgres: u16,
    /// `None`: there is no image store.
    pub images: Option<u16>,
}

/// The ports that were chosen for a stack.
#[derive(Debug)]
pub(crate) struct ChosenPorts {
    pub(crate) core: Port,
    pub(crate) metrics: Port,
    /// `None` if the stack does not start the edge itself. The same holds for the provider and the database.
    pub(crate) edge: Option<Port>,
    pub(crate) oidc: Option<Port>,
    pub(crate) postgres: Option<Port>,
    /// The ports of the proxy in front of the image store, and of the store itself.
    pub(crate) images: Option<(Port, Port)>,
}

impl ChosenPorts {
    pub(crate) fn choose(options: &StackOptions) -> Result<Self> {
        let wanted = options.ports;
        let edge = || Port::choose("the edge", wanted.edge, "--edge-port");
        let oidc = || Port::choose("the OIDC provider", wanted.oidc, "--oidc-port");
        let postgres = || Port::choose("PostgreSQL", wanted.postgres, "--postgres-port");
        let images = |wanted| {
            let door = Port::choose("the image store", wanted, "--images-port")?;
            Ok::<_, anyhow::Error>((door, Port::choose("the image store itself", 0, "")?))
        };
        Ok(Self {
            images: wanted.images.map(images).transpose()?,
            edge: (!matches!(options.edge, Edge::Elsewhere(_))).then(edge).transpose()?,
            core: Port::choose("the core", wanted.core, "--core-port")?,
            metrics: Port::choose("the core's metrics", wanted.metrics, "--metrics-port")?,
            oidc: options.issuer.is_none().then(oidc).transpose()?,
            postgres: matches!(options.database, Database::Own { .. }).then(postgres).transpose()?,
        })
    }
}

/// Where the core keeps its data.
#[derive(Debug, Clone)]
pub enum Database {
    /// A cluster of the stack's own, in the stack's folder. Settings are written as `name=value`.
    Own { durability: Durability, settings: &'static [&'static str] },
    /// A new database in the cluster that this URL names. It is dropped at the end. The URL's user must be allowed to create
    /// databases and roles.
    NewIn(String),
    /// The database that this URL names. It is migrated, and never dropped.
    Given(String),
}

/// The edge, which takes the core's events and the clients' calls.
#[derive(Debug, Clone)]
pub enum Edge {
    /// The worker in `wrangler dev`, with the platform's rate limiters. `rebuild` is the command that builds the worker again
    /// after each change of its sources.
    Wrangler { rebuild: Option<String> },
    /// The worker in workerd alone, which starts in a moment.
    Workerd,
    /// Another program, which is not started here, at this origin.
    Elsewhere(String),
}

/// The options of a stack.
#[derive(Debug, Clone)]
pub struct StackOptions {
    /// The folder for everything that the stack keeps: data, keys and logs. Two running stacks must not share it.
    pub dir: PathBuf,
    pub ports: Ports,
    pub database: Database,
    /// `None`: the stack starts its own provider.
    pub issuer: Option<Issuer>,
    /// Environment variables for both the worker and the core, such as `PRESENCE_TIMEOUT_MS`.
    pub vars: Vec<(String, String)>,
    pub edge: Edge,
    /// How both servers are compiled.
    pub build: Profile,
}

impl StackOptions {
    /// A stack on free ports that keeps everything in `dir`. It has its own provider, and its worker runs in workerd.
    pub fn new(dir: impl Into<PathBuf>, database: Database) -> Self {
        Self {
            dir: dir.into(),
            ports: Ports::default(),
            database,
            issuer: None,
            vars: Vec::new(),
            edge: Edge::Workerd,
            build: Profile::Development,
        }
    }

    /// A stack for one test. Its database is in the cluster of `DATABASE_URL`, or else in a cluster of its own. The test makes
    /// and removes `dir`.
    pub fn for_test(dir: impl Into<PathBuf>) -> Self {
        let database = match std::env::var("DATABASE_URL") {
            Ok(url) => Database::NewIn(url),
            Err(_) => Database::Own { durability: Durability::None, settings: &[] },
        };
        Self::new(dir, database)
    }

    /// Adds an environment variable for the worker and the core.
    #[must_use]
    pub fn var(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.vars.push((name.into(), value.to_string()));
        self
    }
}
