//! Sessions: a form, a cookie, and what both are worth.

use super::*;
use crate::config::Http;

/// Sends a form.
fn form(api: &Api, form: &str) -> ureq::http::Response<ureq::Body> {
    api.agent.post(format!("{}/api/login", api.base)).send(form).unwrap()
}

fn cookie(response: &ureq::http::Response<ureq::Body>) -> String {
    response.headers()["set-cookie"].to_str().unwrap().to_owned()
}

/// The status of a request with a cookie, from a page of that kind of site.
fn ask(api: &Api, method: &str, path: &str, cookie: &str, site: &str) -> u16 {
    let request = ureq::http::Request::builder().method(method).uri(format!("{}/api{path}", api.base));
    let request =
        request.header("cookie", cookie).header("sec-fetch-site", site).body(String::new()).unwrap();
    let request = api.agent.configure_request(request).allow_non_standard_methods(true).build();
    api.agent.run(request).unwrap().status().as_u16()
}

/// Logs in; the cookie as a browser sends it.
fn log_in(api: &Api, user: &str, password: &str) -> String {
    let mut response = form(api, &format!("username={user}&password={password}"));
    assert_eq!(response.status(), 200);
    assert_eq!(response.body_mut().read_to_string().unwrap(), r#""ok""#);
    let cookie = cookie(&response);
    let (pair, attributes) = cookie.split_once("; ").unwrap();
    assert_eq!(attributes, "Max-Age=28800; Path=/; HttpOnly; SameSite=Strict");
    assert!(
        !cookie.contains(&BASE64_STANDARD.encode(format!("{user}:{password}"))),
        "RabbitMQ's has the password"
    );
    format!("theme=dark; {pair}")
}

#[test]
fn a_form_opens_a_session_and_its_cookie_stands_for_the_login() {
    let api = Api::start();
    api.exists("u", "monitoring", true);
    let cookie = log_in(&api, "u", "p");
    assert_eq!(ask(&api, "GET", "/nodes", &cookie, "same-origin"), 200);
    assert_eq!(ask(&api, "GET", "/users", &cookie, "same-origin"), 401, "with the user's tags");
    assert_eq!(ask(&api, "GET", "/nodes", &cookie, "cross-site"), 401, "not from the pages of others");
    assert_eq!(ask(&api, "GET", "/nodes", "warren_session=0", "same-origin"), 401);
    let other = log_in(&api, "u", "p");
    assert_ne!(cookie, other);
    assert_eq!(ask(&api, "DELETE", "/login", &cookie, "same-origin"), 204);
    assert_eq!(ask(&api, "GET", "/nodes", &cookie, "same-origin"), 401, "after logging out");
    assert_eq!(ask(&api, "GET", "/nodes", &other, "same-origin"), 200);
    assert_eq!(api.put("/users/u", json!({"password": "q", "tags": "monitoring"})), done());
    assert_eq!(ask(&api, "GET", "/nodes", &other, "same-origin"), 401, "after another password");
}

#[test]
fn a_wrong_form_opens_no_session_and_counts_as_an_attempt() {
    let api = Api::start();
    api.exists("free", "", true);
    for (text, status) in [
        ("username=guest&password=wrong", 401),
        ("username=free&password=p", 401),
        ("username=guest", 400),
        ("", 400),
    ] {
        let response = form(&api, text);
        assert_eq!(response.status(), status, "{text}");
        assert!(response.headers().get("set-cookie").is_none(), "{text}");
    }
    let Got(_, attempts) = api.get("/auth/attempts/warren@test");
    let http = attempts.as_array().unwrap().iter().find(|row| row["protocol"] == "http").unwrap();
    assert_eq!(http["auth_attempts_failed"], json!(1), "{attempts}");
}

#[test]
fn how_long_a_session_lasts_is_configured_and_a_prefix_is_the_cookies_path() {
    let http = Http { path_prefix: "/w".into(), session_minutes: 5, ..Http::default() };
    let config = Config { http, management_body_bytes_max: 1_000, ..Config::default() };
    let api = Api::start_with(Setup { configuration: config.into(), ..Setup::default() });
    let login = "username=guest&password=guest";
    let response = api.agent.post(format!("{}/w/api/login", api.base)).send(login).unwrap();
    assert!(cookie(&response).ends_with("; Max-Age=300; Path=/w/; HttpOnly; SameSite=Strict"));
    let answer = api.ask_as("guest:guest", "GET", "/w/api/whoami", "").body_mut().read_to_string().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["login_session_timeout"], json!(5));
    let answer = api.ask_as("", "GET", "/w/api/openapi.json", "").body_mut().read_to_string().unwrap();
    assert_eq!(serde_json::from_str::<Value>(&answer).unwrap()["servers"], json!([{"url": "/w"}]));
}
