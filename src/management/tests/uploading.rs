//! Definitions that are sent as forms: by browsers, and by `curl -F file=@NAME`.

use super::*;

const BOUNDARY: &str = "----a-boundary";

/// A form with those fields.
fn form(fields: &[(&str, &str)]) -> String {
    let part = |(name, value): &(&str, &str)| {
        format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"f\"\r\n\r\n{value}\r\n"
        )
    };
    fields.iter().map(part).collect::<String>() + &format!("--{BOUNDARY}--\r\n")
}

/// Sends a form's body; the status, the body and where the answer leads.
fn send(api: &Api, login: &str, path: &str, body: &str) -> (Got, Option<String>) {
    let request = ureq::http::Request::post(format!("{}/api{path}", api.base))
        .header("authorization", format!("Basic {}", BASE64_STANDARD.encode(login)))
        .header("content-type", format!("multipart/form-data; boundary={BOUNDARY}"))
        .body(body.to_owned())
        .unwrap();
    let request = api.agent.configure_request(request).max_redirects(0).build();
    let mut response = api.agent.run(request).unwrap();
    let text = response.body_mut().read_to_string().unwrap();
    let location = response.headers().get("location").map(|location| location.to_str().unwrap().to_owned());
    (Got(response.status().as_u16(), serde_json::from_str(&text).unwrap_or_default()), location)
}

fn queue(name: &str) -> String {
    json!({"queues": [{"name": name, "vhost": "/", "durable": true}]}).to_string()
}

#[test]
fn a_file_in_a_form_is_imported_into_the_node_and_into_a_vhost() {
    let api = Api::start();
    assert_eq!(send(&api, "guest:guest", "/definitions", &form(&[("file", &queue("a"))])), (done(), None));
    assert_eq!(api.get("/queues/%2F/a").0, 200);
    assert_eq!(api.put("/vhosts/v", json!({})), created());
    assert_eq!(send(&api, "guest:guest", "/definitions/v", &form(&[("file", &queue("b"))])), (done(), None));
    assert_eq!(api.get("/queues/v/b").0, 200);
}

#[test]
fn a_form_says_where_its_page_goes_on_if_that_is_on_this_server() {
    let api = Api::start();
    let form = |to| form(&[("redirect", to), ("file", &queue("a"))]);
    let sent = send(&api, "guest:guest", "/definitions", &form("../#/import-succeeded"));
    assert_eq!(sent, (Got(303, Value::Null), Some("../#/import-succeeded".into())));
    assert_eq!(send(&api, "guest:guest", "/definitions", &form("//elsewhere/")), (done(), None));
}

#[test]
fn a_form_that_holds_no_definitions_is_refused() {
    let api = Api::start();
    let refusal = |body: &str| send(&api, "guest:guest", "/definitions", body).0;
    assert_eq!(refusal(&form(&[("other", "{}")])), bad("the form has no field `file`"));
    assert_eq!(refusal(&form(&[("file", "{nonsense")])), bad("not_json"));
    let Got(status, said) = refusal(&form(&[("file", "{}")])[..40]);
    assert_eq!(status, 400);
    assert!(said["reason"].as_str().unwrap().starts_with("the form cannot be read: "), "{said}");
    let unknown = json!({"queues": [{"name": "q", "vhost": "nowhere"}]}).to_string();
    assert_eq!(refusal(&form(&[("file", &unknown)])).0, 400);
    api.exists("m", "management", true);
    assert_eq!(send(&api, "m:p", "/definitions", &form(&[("file", "{}")])).0, refused());
}
