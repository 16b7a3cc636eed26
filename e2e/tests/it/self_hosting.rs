//! Runs the services of `compose.yaml` without a container engine. Each has the command, environment, user and mounts that
//! `docker-compose config` resolves, in a file system that holds nothing else and cannot be written.
//!
//! Every service has an address of its own on this machine. The other services find it by its name.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::{Command as StdCommand, Stdio},
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use devstack::{
    build::Profile,
    child::{Child, Output},
    client::{Constants, Server},
    http, issuer,
    ports::Port,
    postgres::{Durability, Postgres},
    project,
    stack::StackInfo,
    test_run::S3_SERVER,
    workerd,
};
use e2e::{Site, client_of_tests};
use reqwest::{Method, StatusCode, header};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::wire::ClientMessage;
use sqlx::{Connection as _, PgConnection};
use tempfile::TempDir;
use tokio::process::Command;

/// The settings of a service that this test applies. All other settings of compose.yaml are for the container engine.
#[derive(Debug, Deserialize)]
struct Service {
    #[serde(default)]
    command: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    user: Option<String>,
    #[serde(default)]
    read_only: bool,
    #[serde(default)]
    cap_drop: Vec<String>,
    #[serde(default)]
    volumes: Vec<String>,
    #[serde(default)]
    tmpfs: Vec<String>,
    #[serde(default)]
    build: Build,
}

#[derive(Debug, Default, Deserialize)]
struct Build {
    #[serde(default)]
    args: BTreeMap<String, Option<String>>,
}

/// What compose.yaml builds into the client.
fn constants_of(compose: &Compose) -> Result<Constants> {
    let args = &compose.services["proxy"].build.args;
    let of =
        |name: &str| args.get(name).cloned().flatten().with_context(|| format!("{name} is no argument of the proxy"));
    Ok(Constants {
        origin: of("PAGENOW_ORIGIN")?,
        issuer: of("PAGENOW_ISSUER")?,
        client_id: of("PAGENOW_CLIENT_ID")?,
        images: of("PAGENOW_IMAGES")?,
        sign_in: Some(of("PAGENOW_SIGN_IN")?).filter(|address| !address.is_empty()),
    })
}

#[derive(Debug, Deserialize)]
struct Compose {
    services: BTreeMap<String, Service>,
}

/// Copies the files that somebody who hosts this has, and lets `self-host/make-env` write the settings. Then changes them by
/// `edits`, and gives the resolved configuration.
fn settle(dir: &Path, edits: &[(&str, &str)]) -> Result<Compose> {
    let root = project::root();
    for name in ["compose.yaml", "self-host/Caddyfile", "self-host/make-env"] {
        let copy = dir.join(name);
        project::make_dir(copy.parent().context("it has a folder")?)?;
        fs::copy(root.join(name), copy)?;
    }
    let made = StdCommand::new(dir.join("self-host/make-env")).arg("--trial").status()?;
    ensure!(made.success(), "self-host/make-env ended with {made}");
    let mut env = fs::read_to_string(dir.join(".env"))?;
    for (name, value) in edits {
        let line = env.lines().find(|line| line.starts_with(&format!("{name}=")));
        env = env.replace(line.with_context(|| format!("{name} is not in .env"))?, &format!("{name}={value}"));
    }
    fs::write(dir.join(".env"), env)?;
    let config = compose().arg("config").current_dir(dir).output()?;
    ensure!(config.status.success(), "compose.yaml: {}", String::from_utf8_lossy(&config.stderr));
    serde_saphyr::from_slice(&config.stdout).context("docker-compose wrote something else")
}

/// Docker's Compose, as a plugin or as a program of its own.
fn compose() -> StdCommand {
    let plugin = StdCommand::new("docker").args(["compose", "version"]).stderr(Stdio::null()).output();
    if plugin.is_ok_and(|output| output.status.success()) {
        let mut docker = StdCommand::new("docker");
        docker.arg("compose");
        return docker;
    }
    StdCommand::new("docker-compose")
}

/// A machine on which the services run.
struct Machine {
    dir: TempDir,
    compose: Compose,
    /// First the replacement for the database's address in the configuration, last the network of the services' addresses.
    instead: Vec<(String, String)>,
    hosts: PathBuf,
    bundle: PathBuf,
    /// What the proxy's image holds besides Caddy.
    page: PathBuf,
}

/// The libraries in our images. Distroless's `cc` has these of glibc and GCC, and nothing that starts another program.
const LIBRARIES: [&str; 7] =
    ["ld-linux-", "libc.so.6", "libdl.so.2", "libgcc_s.so.1", "libm.so.6", "libpthread.so.0", "librt.so.1"];

/// Arguments of `bwrap` that mount the libraries of a program. Fails if it needs one that our images do not have.
fn libraries_of(program: &Path) -> Result<Vec<String>> {
    let ldd = StdCommand::new("ldd").arg(program).output()?;
    ensure!(ldd.status.success(), "ldd: {}", String::from_utf8_lossy(&ldd.stderr));
    let mut arguments = Vec::new();
    for line in String::from_utf8(ldd.stdout)?.lines() {
        // A line is `name => path (address)`, or only the path of the loader. The library that the kernel provides has no path.
        let Some(path) = line.split_whitespace().find(|word| word.starts_with('/')) else { continue };
        let name = Path::new(path).file_name().context("a library has a name")?.to_string_lossy();
        ensure!(LIBRARIES.iter().any(|known| name.starts_with(known)), "the image has no {name}");
        arguments.extend(["--ro-bind".to_owned(), path.to_owned(), path.to_owned()]);
    }
    Ok(arguments)
}

/// The services that this test runs in a file system of their own. PostgreSQL is not among them, because its image has its own
/// way to start.
const CONFINED: [&str; 6] = ["roles", "migrations", "core", "edge", "images", "proxy"];

impl Machine {
    async fn new(dir: TempDir, compose: Compose, database: &Port) -> Result<Self> {
        // Loopback addresses, which belong to this machine alone. They are random, so that hardly any other test has the same
        // ones.
        let network = format!("127.{}.{}", rand::random_range(1..=254), rand::random_range(1..=254));
        let mut instead = vec![("@database:5432".to_owned(), format!("@127.0.0.1:{}", database.number()))];
        let mut hosts = "127.0.0.1 localhost\n".to_owned();
        for (place, name) in CONFINED.iter().enumerate() {
            hosts.push_str(&format!("{network}.{} {name}\n", place + 1));
        }
        let hosts_file = dir.path().join("hosts");
        fs::write(&hosts_file, hosts)?;
        let bundle = dir.path().join("bundle");
        workerd::bundle(&bundle)?;
        instead.push(("ADDRESS".to_owned(), network));
        let page = dir.path().join("page");
        constants_of(&compose)?.place(Server::Caddy, &client_of_tests()?, &page).await?;
        Ok(Self { dir, compose, instead, hosts: hosts_file, bundle, page })
    }

    fn address(&self, name: &str) -> String {
        let place = CONFINED.iter().position(|service| *service == name).unwrap() + 1;
        format!("{}.{place}", self.instead.last().unwrap().1)
    }

    /// A text of a service's configuration. The service's own address replaces the one that means all addresses of its container.
    fn told(&self, name: &str, text: &str) -> String {
        let (database, at) = &self.instead[0];
        let text = text.replace(database, at).replace("0.0.0.0", &self.address(name));
        if text.starts_with("http=*") { text.replacen('*', &self.address(name), 1) } else { text }
    }

    /// The command that starts the service as its image does.
    fn service(&self, name: &str) -> Result<Command> {
        let service = &self.compose.services[name];
        let mut confined = Command::new("bwrap");
        confined.args(["--unshare-user", "--unshare-pid", "--unshare-ipc", "--die-with-parent", "--clearenv"]);
        confined.args(["--ro-bind", "/etc/ssl", "/etc/ssl"]);
        confined.args(["--proc", "/proc", "--dev", "/dev"]).arg("--ro-bind").arg(&self.hosts).arg("/etc/hosts");
        let program = match name {
            "edge" => {
                confined.args(libraries_of(&self.bundle.join("workerd"))?);
                confined.arg("--ro-bind").arg(&self.bundle).arg("/srv");
                "/srv/workerd"
            }
            "images" => {
                let program = std::env::var_os(S3_SERVER).context("`cargo xtask test` names the image store")?;
                confined.args(libraries_of(program.as_ref())?);
                confined.arg("--ro-bind").arg(program).arg("/bin/s3s-fs");
                "/bin/s3s-fs"
            }
            "proxy" => {
                confined.args(["--ro-bind", "/usr", "/usr"]);
                confined.args(["--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]);
                confined.arg("--ro-bind").arg(&self.page).arg("/srv");
                "/usr/bin/caddy"
            }
            _ => {
                let program = Profile::Development.core_program();
                confined.args(libraries_of(&program)?);
                confined.arg("--ro-bind").arg(program).arg("/bin/core-api");
                "/bin/core-api"
            }
        };
        for volume in &service.volumes {
            let (from, to) = volume.split_once(':').context("a volume has two ends")?;
            let (to, mode) = to.split_once(':').unwrap_or((to, "rw"));
            let from = match from.starts_with('/') {
                true => PathBuf::from(from),
                false => self.dir.path().join("volumes").join(from),
            };
            if !from.exists() {
                project::make_dir(&from)?;
            }
            confined.arg(if mode == "ro" { "--ro-bind" } else { "--bind" }).arg(from).arg(to);
        }
        for place in &service.tmpfs {
            confined.args(["--tmpfs", place]);
        }
        if name == "proxy" {
            // Caddy's image keeps its data and configuration here.
            let folders = ["HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME"];
            confined.args(folders.iter().flat_map(|folder| ["--setenv", folder, "/data"]));
        } else {
            // All other services must be confined.
            ensure!(service.read_only && service.cap_drop == ["ALL"], "{name} may write, or more: {service:?}");
            let user = service.user.as_deref().context("no user is named")?;
            let (user, group) = user.split_once(':').context("no group is named")?;
            confined.args(["--uid", user, "--gid", group]);
        }
        for (variable, value) in &service.environment {
            confined.args(["--setenv", variable, &self.told(name, value)]);
        }
        confined.args(["--remount-ro", "/", "--", program]);
        match name {
            "proxy" => confined.args(["run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]),
            _ => confined.args(service.command.iter().map(|argument| self.told(name, argument))),
        };
        Ok(confined)
    }

    fn start(&self, name: &str) -> Result<Child> {
        let log = Output::Log(self.dir.path().join("logs").join(format!("{name}.log")));
        Child::start(name, self.service(name)?, log).context("bwrap, Debian's bubblewrap, is needed for this test")
    }

    /// Runs a service that ends by itself.
    async fn complete(&self, name: &str) -> Result<()> {
        let mut child = self.start(name)?;
        let status = child.wait().await?;
        ensure!(status.success(), "{}", child.exit_report(status));
        Ok(())
    }

    async fn start_until(&self, name: &str, url: &str) -> Result<Child> {
        let mut child = self.start(name)?;
        http::wait_until_ready(url, &mut child, Duration::from_secs(30)).await?;
        Ok(child)
    }

    /// Starts every service that keeps running, once the database is there.
    async fn start_all(&self, public_url: &str) -> Result<[Child; 4]> {
        self.complete("roles").await?;
        self.complete("migrations").await?;
        let core = self.start_until("core", &format!("http://{}:8080/readyz", self.address("core"))).await?;
        let edge = self.start_until("edge", &format!("http://{}:8787/healthz", self.address("edge"))).await?;
        let images = self.start("images")?;
        let proxy = self.start_until("proxy", &format!("{public_url}/healthz")).await?;
        Ok([core, edge, images, proxy])
    }
}

/// Checks that every file of the page has the same bytes and headers as at the edge that all tests share. Only the addresses in
/// the policy differ.
async fn serves_the_page_as_cloudflare_does(own: &Site) -> Result<()> {
    let cloudflare = Site::of_tests()?;
    let served = page_files(&client_of_tests()?.join("app"))?;
    ensure!(served.contains(&"index.html".to_owned()), "the page is not built: {served:?}");
    for name in served.iter().map(|name| if name == "index.html" { "" } else { name.as_str() }).chain(["nothing"]) {
        let (ours, theirs) = (asset(own, name).await?, asset(&cloudflare, name).await?);
        assert_eq!(ours, theirs, "{name}");
        assert_eq!(ours.status == StatusCode::NOT_FOUND, name == "nothing");
    }
    for site in [own, &cloudflare] {
        let moved = site.request(Method::GET, "/app").send().await?;
        assert_eq!((moved.status(), moved.url().path()), (StatusCode::OK, "/app/"));
    }
    // Files beside those of the page are not served.
    for path in ["/headers.caddy", "/app/../headers.caddy", "/app/%2e%2e/headers.caddy"] {
        assert_ne!(own.request(Method::GET, path).send().await?.status(), StatusCode::OK, "{path}");
    }
    Ok(())
}

#[derive(Debug, PartialEq, Eq)]
struct Asset {
    status: StatusCode,
    kind: Option<String>,
    headers: BTreeMap<String, String>,
    bytes: Vec<u8>,
}

/// A file of the page as it is served, with the headers that tell browsers how to treat it. Names replace the addresses of this
/// system.
async fn asset(site: &Site, name: &str) -> Result<Asset> {
    let answer = site.request(Method::GET, &format!("/app/{name}")).send().await?;
    let status = answer.status();
    if status == StatusCode::NOT_FOUND {
        // Each server may answer in its own way for a file that does not exist.
        return Ok(Asset { status, kind: None, headers: BTreeMap::new(), bytes: Vec::new() });
    }
    let of = |name: &str| answer.headers().get(name).map(|value| value.to_str().map(str::to_owned)).transpose();
    let mut headers = BTreeMap::new();
    for name in SECURITY_HEADERS {
        headers.insert(name.to_owned(), of(name)?.with_context(|| format!("{name} is missing"))?);
    }
    let policy = headers.get_mut("content-security-policy").context("there is a policy")?;
    // These are the origins of the live channel, the issuer and the images. Some may be the same.
    let addresses: Vec<&str> = policy.split([' ', ';']).filter(|part| part.contains("://")).collect();
    ensure!(addresses.iter().all(|address| address.parse::<reqwest::Url>().is_ok()), "{policy}");
    let live = site.info.edge_url.replacen("http", "ws", 1);
    let issuer = site.info.issuer.issuer.parse::<reqwest::Url>()?.origin().ascii_serialization();
    ensure!(addresses.contains(&live.as_str()) && addresses.contains(&issuer.as_str()), "{policy}");
    let images =
        policy.split(" blob: ").nth(1).and_then(|rest| rest.split(';').next()).context("images have an origin")?;
    *policy = policy.replace(&live, "LIVE").replace(&issuer, "ISSUER").replace(&images.to_owned(), "IMAGES");
    let kind = of("content-type")?;
    Ok(Asset { status, kind, headers, bytes: answer.bytes().await?.to_vec() })
}

/// The headers with which each file of the page is served.
const SECURITY_HEADERS: [&str; 5] = [
    "cache-control",
    "content-security-policy",
    "referrer-policy",
    "strict-transport-security",
    "x-content-type-options",
];

/// All files of a folder and its subfolders, as paths relative to the folder.
fn page_files(folder: &Path) -> Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = fs::read_dir(folder).with_context(|| format!("{} is not there", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            names.extend(page_files(&entry.path())?.into_iter().map(|inner| format!("{name}/{inner}")));
        } else {
            names.push(name);
        }
    }
    Ok(names)
}

async fn start_database(dir: &Path, port: &Port) -> Result<Postgres> {
    Postgres::start(&dir.join("database"), port, Durability::Full, &[], dir.join("logs/database.log")).await
}

/// Sets the password of the superuser and creates a database, as PostgreSQL's image does at its first start.
async fn initialise(database: &Postgres, dir: &Path, service: &Service) -> Result<()> {
    let mut connection = PgConnection::connect(database.url()).await?;
    let password = &service.environment["POSTGRES_PASSWORD"];
    let name = &service.environment["POSTGRES_DB"];
    ensure!(password.chars().chain(name.chars()).all(|c| c.is_ascii_alphanumeric()), "that would need quotes");
    for statement in [format!("create database {name}"), format!("alter role postgres password '{password}'")] {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await?;
    }
    connection.close().await?;
    // The next start reads the password here, to find out whether the database answers.
    project::write_private(&dir.join("database/password"), password)
}

#[tokio::test]
async fn a_self_hosted_machine_keeps_everything_when_all_services_are_killed_and_started_again() -> Result<()> {
    // Without the shared stack, this fails with a sentence that says how to run the tests.
    Site::of_tests()?;
    let dir = tempfile::tempdir()?;
    project::make_dir(&dir.path().join("logs"))?;
    let port = |what| Port::choose(what, 0, "");
    let (database_port, oidc_port) = (port("the database")?, port("the issuer")?);
    let (public_port, images_port) = (port("the proxy")?, port("the images")?);
    let (_oidc, issuer) = issuer::start(dir.path(), &oidc_port).await?;
    let public_url = format!("http://localhost:{}", public_port.number());
    let compose = settle(
        dir.path(),
        &[
            ("PUBLIC_URL", &public_url),
            ("IMAGES_URL", &format!("http://127.0.0.1:{}", images_port.number())),
            ("OIDC_ISSUER", &issuer.issuer),
            ("OIDC_AUDIENCE", &issuer.audience),
            ("OIDC_JWKS_URL", &issuer.jwks_url),
        ],
    )?;
    let database = start_database(dir.path(), &database_port).await?;
    initialise(&database, dir.path(), &compose.services["database"]).await?;
    let machine = Machine::new(dir, compose, &database_port).await?;
    let folder = machine.dir.path();
    project::make_dir(&folder.join("volumes/images/profile-images"))?;
    let children = machine.start_all(&public_url).await?;

    // The proxy does not pass on the route by which only the core may call the edge.
    let core_url = format!("http://{}:8080", machine.address("core"));
    let info = StackInfo { edge_url: public_url.clone(), core_url, issuer, database_url: String::new() };
    let site = Site::of(info)?;
    let events = site.request(Method::POST, "/internal/events").body("{}").send().await?;
    assert_eq!(events.status(), StatusCode::NOT_FOUND);

    serves_the_page_as_cloudflare_does(&site).await?;

    // Alice and Bob are friends and see each other; Carol, a friend of both, is invisible.
    let ((alice, alice_live), (bob, mut bob_live)) = site.friends_online().await?;
    let carol = site.person("Carol").await?;
    carol.befriend(&alice).await?;
    carol.befriend(&bob).await?;
    let carol_live = carol.connect().await?;
    assert_eq!(bob_live.update().await?.user_id, carol.id);
    carol_live.say(&ClientMessage::SetVisibility { invisible: true })?;
    bob_live
        .find(|message| matches!(message, shared::wire::ServerMessage::PresenceTimeout { .. }).then_some(()))
        .await?;
    alice_live.visit("https://example.com/", "Before")?;
    assert_eq!(bob_live.update().await?.title, "Before");
    let picture = upload(&alice, b"a picture").await?;
    // The status is 413, or 502 from older versions of Caddy.
    assert!(!upload_status(&alice, &vec![0; 3_000_000]).await?.is_success());

    // Alice leaves, and her object sets an alarm for the end of her grace. Dave becomes Bob's friend while the edge is away.
    let dave = site.person("Dave").await?;
    dave.ask(&bob).await?;
    drop(alice_live);
    let [core, edge, images, proxy] = children;
    let grace_ends = until(async || Ok(earliest_alarm(folder)?.filter(|due_s| *due_s < now_s() + 20.0))).await?;
    edge.kill().await;
    let accept = site.core_request(Method::POST, "/friendship/accept").bearer_auth(&bob.token);
    let accepted = accept.json(&json!({ "user_id1": dave.id })).send().await?;
    assert_eq!(accepted.status(), StatusCode::OK);
    for child in [core, images, proxy] {
        child.kill().await;
    }
    database.kill().await;

    let database = start_database(folder, &database_port).await?;
    let children = machine.start_all(&public_url).await?;
    // Nobody reads of Alice. The alarm that was set before fires by itself.
    until(async || Ok(earliest_alarm(folder)?.is_none_or(|due_s| due_s > grace_ends).then_some(()))).await?;
    let (_bob_live, snapshot) = bob.connect_with_snapshot().await?;
    let friends: Vec<_> = snapshot.user_info_map.keys().collect();
    for friend in [&alice, &carol] {
        assert!(friends.contains(&&friend.id), "{} is not in {friends:?}", friend.first_name);
    }
    assert_eq!(bob.page_of(&alice.id).await?, None, "Alice has gone");
    let _carol_live = carol.connect().await?;
    assert_eq!(bob.page_of(&carol.id).await?, None, "Carol is invisible still");
    let kept = http::client()?.get(picture).send().await?;
    assert_eq!((kept.status(), kept.bytes().await?.as_ref()), (StatusCode::OK, b"a picture".as_slice()));
    // The event that waited in the outbox was delivered.
    until(async || Ok((bob.may_see(&dave.id).await? == StatusCode::OK).then_some(()))).await?;
    for child in children {
        child.kill().await;
    }
    database.stop().await;
    Ok(())
}

/// Asks again and again, for forty seconds at most.
async fn until<T>(mut ask: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let wait = async {
        loop {
            if let Some(answer) = ask().await? {
                return Ok(answer);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(40), wait).await.context("it never came to that")?
}

/// When the next alarm of any object fires, in seconds of Unix time, as workerd has it on its disk.
fn earliest_alarm(folder: &Path) -> Result<Option<f64>> {
    const ASK: &str = "import sqlite3, sys
(due_ns,) = sqlite3.connect(sys.argv[1]).execute('select min(scheduled_time) from _cf_ALARM').fetchone()
print('' if due_ns is None else due_ns / 1e9)";
    let file = folder.join("volumes/objects/UserObject/metadata.sqlite");
    let output = StdCommand::new("python3").args(["-c", ASK]).arg(file).output()?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout)?;
    Ok(Some(text.trim()).filter(|text| !text.is_empty()).map(str::parse).transpose()?)
}

fn now_s() -> f64 {
    std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}

/// Uploads a picture as browsers do, and gives its address.
async fn upload(person: &e2e::Person, bytes: &[u8]) -> Result<String> {
    let url = signed(person, "/users/me/profile-image-upload-url?image_ext=png").await?;
    let preflight = http::client()?.request(Method::OPTIONS, &url).header(header::ORIGIN, "https://web.example");
    let preflight = preflight.header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT").send().await?;
    ensure!(preflight.status() == StatusCode::NO_CONTENT, "the preflight was answered {}", preflight.status());
    ensure!(preflight.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN] == "*", "no origin may upload");
    let put = http::client()?.put(url).header(header::CONTENT_TYPE, "image/png").body(bytes.to_vec()).send().await?;
    ensure!(put.status().is_success(), "the upload was answered {}", put.status());
    signed(person, &format!("/users/id/{}/profile-image-url?image_ext=png", person.id)).await
}

async fn upload_status(person: &e2e::Person, bytes: &[u8]) -> Result<StatusCode> {
    let url = signed(person, "/users/me/profile-image-upload-url?image_ext=png").await?;
    let put = http::client()?.put(url).header(header::CONTENT_TYPE, "image/png").body(bytes.to_vec());
    Ok(put.send().await?.status())
}

async fn signed(person: &e2e::Person, path: &str) -> Result<String> {
    match person.call(Method::GET, path, None).await? {
        Value::String(url) => Ok(url),
        other => bail!("no address: {other}"),
    }
}
