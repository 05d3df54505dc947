//! The page, as far as it can be read without a browser.

use super::*;

#[tokio::test]
async fn the_page_asks_nobody_but_this_server() {
    let response = send(app(), get_of("/")).await;
    let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe") && !policy.contains("http"));
    let page = response.into_body().collect().await.unwrap().to_bytes();
    let page = std::str::from_utf8(&page).unwrap();
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" onclick="));
    let files: Vec<&str> = page.split('"').filter(|part| part.starts_with("/page/")).collect();
    assert!(files.len() >= 3, "{files:?}");
    for file in files {
        assert_eq!(send(app(), get_of(file)).await.status(), StatusCode::OK, "{file}");
    }
    for file in ["page", "api", "chart", "format"] {
        let script =
            send(app(), get_of(&format!("/page/{file}.js"))).await.into_body().collect().await.unwrap().to_bytes();
        let script = std::str::from_utf8(&script).unwrap();
        let addresses = script.matches("://").count() - script.matches("\"http://www.w3.org/2000/svg\"").count();
        assert_eq!(addresses, 0, "{file}.js names an address");
    }
}
