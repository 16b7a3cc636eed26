//! The encrypted way to the database: which certificates the core accepts.

use std::{path::Path, process::Output};

use devstack::{
    ports::Port,
    postgres::{Durability, Postgres},
    project, tools,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};

use crate::{process::program, world::Provider};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(parameters, KeyPair::generate().unwrap()).unwrap()
}

/// A server whose certificate, signed by that authority, is for `localhost` and for nothing else.
async fn server(dir: &Path, authority: &Authority) -> Postgres {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["localhost".to_owned()]).unwrap().signed_by(&key, authority).unwrap();
    let [certificate_file, key_file] = ["server.pem", "server.key"].map(|name| dir.join(name));
    project::write_private(&certificate_file, &certificate.pem()).unwrap();
    project::write_private(&key_file, &key.serialize_pem()).unwrap();
    tools::ensure_npm_packages().await.unwrap();
    let port = Port::choose("PostgreSQL", 0, "").unwrap();
    let settings = [
        "ssl=on".to_owned(),
        format!("ssl_cert_file={}", certificate_file.display()),
        format!("ssl_key_file={}", key_file.display()),
    ];
    let settings = settings.each_ref().map(String::as_str);
    Postgres::start(&dir.join("postgres"), &port, Durability::None, &settings, dir.join("log")).await.unwrap()
}

#[tokio::test]
async fn with_verify_full_only_the_server_of_that_name_and_authority_is_accepted() {
    // The clients of this test need it. The program installs its own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let dir = tempfile::tempdir().unwrap();
    let (ours, other) = (authority(), authority());
    let postgres = server(dir.path(), &ours).await;
    let [ours_file, other_file] = [("ours.pem", &ours), ("other.pem", &other)].map(|(name, authority)| {
        let file = dir.path().join(name);
        std::fs::write(&file, authority.pem()).unwrap();
        file.display().to_string()
    });
    let mut url = url::Url::parse(postgres.url()).unwrap();
    let password = url.password().unwrap().to_owned();
    let provider = Provider::start().await;
    let mut migrate = async |host, query: &str, environment: &[(&str, &str)]| -> Output {
        url.set_host(Some(host)).unwrap();
        url.set_query(Some(query));
        let mut command = program(url.as_str(), &provider, "migrate");
        command.envs(environment.iter().copied()).output().await.unwrap()
    };

    for (host, root, why_not) in [
        ("localhost", Some(&*ours_file), None),
        ("127.0.0.1", Some(&ours_file), Some("not valid for name")),
        ("localhost", Some(&other_file), Some("invalid peer certificate")),
        // Only the public authorities count then, and they know nothing of ours.
        ("localhost", None, Some("UnknownIssuer")),
    ] {
        let root: Vec<_> = root.iter().map(|file| ("PGSSLROOTCERT", *file)).collect();
        let output = migrate(host, "sslmode=verify-full", &root).await;
        let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert_eq!(output.status.success(), why_not.is_none(), "{host}, {root:?}: {said}");
        assert!(said.contains(why_not.unwrap_or_default()) && !said.contains(&password), "{host}, {root:?}: {said}");
    }
    // The settings are all in the URL, or all in variables, or missing. If they are missing, every server is trusted.
    for (host, query, environment, succeeds) in [
        ("localhost", format!("sslmode=verify-full&sslrootcert={ours_file}"), &[][..], true),
        ("localhost", format!("sslmode=verify-full&sslrootcert={other_file}"), &[], false),
        ("localhost", String::new(), &[("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", &*ours_file)], true),
        ("127.0.0.1", String::new(), &[("PGSSLMODE", "verify-full"), ("PGSSLROOTCERT", &*ours_file)], false),
        ("127.0.0.1", String::new(), &[], true),
    ] {
        let output = migrate(host, &query, environment).await;
        assert_eq!(output.status.success(), succeeds, "{host}, {query}, {environment:?}");
    }
    postgres.stop().await;
}
