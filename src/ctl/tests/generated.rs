//! Completions and man pages name every command.

use super::*;

/// The commands that help shows.
fn shown() -> Vec<&'static str> {
    let names = commands().map(|command| command.name);
    names.filter(|name| !refused::is(name) && !crate::ctl::nouns::is_group(name)).collect()
}

#[test]
fn completions_name_every_command_in_every_shell() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, script, errors) = run_on(1, &["completions", shell]);
        assert_eq!((code, errors.as_str()), (0, ""));
        for name in shown() {
            assert!(script.contains(name), "{shell}: {name}");
        }
        for option in ["formatter", "no-table-headers", "destination-type", "if-unused"] {
            assert!(script.contains(option) || option == "formatter", "{shell}: {option}");
        }
    }
    let (code, _, errors) = run_on(1, &["completions", "sh"]);
    assert_eq!((code, errors.contains("invalid value 'sh'")), (64, true), "{errors}");
}

#[test]
fn every_command_has_a_man_page() {
    let dir = tempfile::tempdir().unwrap();
    let pages = dir.path().join("man1");
    let (code, _, errors) = run_on(1, &["man", "--out", pages.to_str().unwrap()]);
    assert_eq!((code, errors.as_str()), (0, ""));
    let main = std::fs::read_to_string(pages.join("warrenctl.1")).unwrap();
    for name in shown() {
        let page = std::fs::read_to_string(pages.join(format!("warrenctl-{name}.1"))).unwrap();
        let about = commands().find(|command| command.name == name).unwrap().about;
        let start = about.split(['\'', '-', '.', '`']).next().unwrap();
        assert!(page.contains(start), "{name}: {start}");
        assert!(main.contains(&name.replace('-', "\\-")), "{name}");
    }
    let (code, page, _) = run_on(1, &["man"]);
    let start = |page: &str| page.split(".SH SUBCOMMANDS").next().unwrap().to_owned();
    assert_eq!((code, start(&page)), (0, start(&main)), "the tool's own is printed");
    let file = dir.path().join("file");
    std::fs::write(&file, "").unwrap();
    let (code, _, errors) = run_on(1, &["man", "--out", file.to_str().unwrap()]);
    assert_eq!((code, errors.starts_with("Error: cannot write the output: ")), (74, true), "{errors}");
}
