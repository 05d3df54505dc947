#![allow(clippy::unwrap_used, reason = "a test stops at the first surprise")]

use super::*;
use crate::testing::registry::TestRegistry;

fn registry(server: &TestRegistry, login: Login) -> Registry {
    let settings = Settings { url: server.url.clone(), login, timeout: SignedDuration::from_secs(60) };
    Registry::new(settings).unwrap()
}

#[tokio::test]
async fn a_schema_is_asked_for_once() {
    let server = TestRegistry::start().await;
    let id = server.register("orders-value", "AVRO", "\"string\"", &[]);
    let registry = registry(&server, Login::None);
    let (first, second) = tokio::join!(registry.schema(id), registry.schema(id));
    let schema = first.unwrap().unwrap();
    assert_eq!((schema.id, schema.kind, schema.text.as_str()), (id, SchemaKind::Avro, "\"string\""));
    assert!(Arc::ptr_eq(&schema, &second.unwrap().unwrap()));
    assert_eq!(server.asked(), ["/schemas/ids/1"]);
    assert!(registry.schema(99).await.unwrap().is_none());
}

#[tokio::test]
async fn the_newest_schema_of_a_subject() {
    let server = TestRegistry::start().await;
    server.register("a-value", "AVRO", "\"int\"", &[]);
    server.register("a-value", "PROTOBUF", "syntax = \"proto3\";", &[]);
    let registry = registry(&server, Login::None);
    let schema = registry.latest("a-value").await.unwrap().unwrap();
    assert_eq!((schema.id, schema.kind), (2, SchemaKind::Protobuf));
    assert!(registry.latest("a/b value").await.unwrap().is_none());
    assert_eq!(server.asked()[1], "/subjects/a%2Fb%20value/versions/latest");
}

#[tokio::test]
async fn references_come_before_what_refers_to_them() {
    let server = TestRegistry::start().await;
    server.register("money", "PROTOBUF", "money", &[]);
    server.register("person", "PROTOBUF", "person", &[("money.proto", "money", 1)]);
    let references = [("person.proto", "person", 1), ("money.proto", "money", 1)];
    let id = server.register("order", "PROTOBUF", "order", &references);
    let schema = registry(&server, Login::None).schema(id).await.unwrap().unwrap();
    let names: Vec<(&str, &str)> = schema.references.iter().map(|r| (r.name.as_str(), r.text.as_str())).collect();
    assert_eq!(names, [("money.proto", "money"), ("person.proto", "person")]);
    assert_eq!(server.asked().len(), 3);
    let broken = server.register("broken", "AVRO", "x", &[("gone", "gone", 7)]);
    let error = registry(&server, Login::None).schema(broken).await.unwrap_err();
    assert!(
        error.to_string().ends_with("/subjects/gone/versions/7 refused: schema 5 refers to what is not there")
            || error.to_string().contains("refers to what is not there"),
        "{error}"
    );
}

#[tokio::test]
async fn who_asks_is_said_as_the_settings_have_it() {
    let server = TestRegistry::start().await;
    let id = server.register("a", "AVRO", "\"int\"", &[]);
    let secret = || Secret("open sesame".to_owned());
    let basic = Login::Basic { user: "ali".to_owned(), password: secret() };
    for (login, authorization) in
        [(basic, "Basic YWxpOm9wZW4gc2VzYW1l"), (Login::Bearer(secret()), "Bearer open sesame")]
    {
        server.demand(authorization);
        let known = registry(&server, login);
        assert!(known.schema(id).await.unwrap().is_some());
        assert!(!format!("{known:?}").contains("sesame"), "secrets are never shown");
    }
    let error = registry(&server, Login::None).schema(id).await.unwrap_err();
    assert!(!error.is_transient());
    assert!(error.to_string().ends_with("refused: 401 Unauthorized: Unauthorized"), "{error}");
}

#[tokio::test]
async fn what_may_pass_is_told_from_what_a_person_must_mend() {
    let server = TestRegistry::start().await;
    let id = server.register("a", "AVRO", "\"int\"", &[]);
    let registry = registry(&server, Login::None);
    for (status, body, transient) in [
        (503, "", true),
        (429, r#"{"error_code": 42901, "message": "slowly"}"#, true),
        (500, r#"{"error_code": 50001, "message": "backend"}"#, true),
        (404, "<html>", false),
        (200, "<html>", false),
        (422, r#"{"error_code": 42201, "message": "no"}"#, false),
    ] {
        server.answer_instead(status, body);
        let error = registry.schema(id).await.unwrap_err();
        assert_eq!(error.is_transient(), transient, "{status}: {error}");
    }
    assert!(registry.schema(id).await.unwrap().is_some(), "and then it answers");
    drop(server);
}

#[tokio::test]
async fn a_registry_that_never_answers_is_not_waited_for() {
    let silent = tokio::net::TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap()).parse().unwrap();
    let settings = Settings { url, login: Login::None, timeout: SignedDuration::from_millis(20) };
    let error = Registry::new(settings).unwrap().schema(1).await.unwrap_err();
    assert!(error.is_transient(), "{error}");
}
