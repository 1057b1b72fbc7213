//! docs/recipes.md: with a recipe's own configuration, `purgefront plan` says what the recipe says.

use std::{fs, path::Path};

use crate::{
    documents::markdown,
    support::{aws::FakeAws, cloudfront::Distribution, distribution::Behaviour, service::Setup},
};

/// The distributions that a recipe is about.
fn account(recipe: &str) -> Vec<Distribution> {
    let mut site = Distribution::of("E2EXAMPLE", "my-bucket");
    site.root = Some("index.html".to_owned());
    match recipe {
        "A single-page application with error pages" => {
            let page = |status| (status, "/index.html".to_owned(), 300);
            site.errors = vec![page(403), page(404)];
        }
        "URLs without .html by a function" | "From host to prefix" => site.default.function = true,
        "Image derivatives" => {
            site.origins
                .push(("images.example.com".to_owned(), String::new()));
            site.behaviours = vec![Behaviour::of("/img/*", "origin-1")];
        }
        "One bucket with many sites" => {
            "/a.example".clone_into(&mut site.origins[0].1);
            let mut other = site.clone();
            "E3EXAMPLE".clone_into(&mut other.id);
            "/b.example".clone_into(&mut other.origins[0].1);
            return vec![site, other];
        }
        "Immutable assets" => {}
        "Releases by switching the origin path" => {
            "/releases/42".clone_into(&mut site.origins[0].1);
        }
        other => panic!("what is the account of {other:?}?"),
    }
    vec![site]
}

/// Plans as a recipe's command says, with the recipe's configuration.
async fn planned(recipe: &str, configuration: &str, command: &str) -> String {
    let aws = FakeAws::start().await;
    for distribution in account(recipe) {
        aws.cloudfront.put(distribution);
    }
    let (code, catalogue, complaint) = Setup::new(&aws).run(&["catalogue"]);
    assert_eq!(code, Some(0), "{recipe}: {complaint}");
    let alone = Setup::alone();
    let put = |name: &str, text: &str| fs::write(alone.store().with_file_name(name), text).unwrap();
    put("account.json", &catalogue);
    put("purgefront.toml", configuration);
    let words: Vec<_> = command.split_whitespace().collect();
    assert_eq!(words[..2], ["purgefront", "plan"], "{recipe}");
    let (code, plan, complaint) = alone.run(&words[1..]);
    assert_eq!((code, complaint.as_str()), (Some(0), ""), "{recipe}");
    plan
}

#[tokio::test(flavor = "multi_thread")]
async fn recipes_say_what_goes_out() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/recipes.md");
    let text = fs::read_to_string(file).unwrap();
    let recipes: Vec<_> = text.split("\n## ").skip(1).collect();
    assert!(recipes.len() >= 7, "{}", recipes.len());
    let mut faults = Vec::new();
    for recipe in recipes {
        let (title, _) = recipe.split_once('\n').unwrap();
        let (blocks, _) = markdown::code(recipe);
        let block = |language: &str| {
            let mut blocks = blocks.iter().filter(|block| block.language == language);
            blocks.next().map_or("", |block| &*block.text)
        };
        let plan = planned(title, block("toml"), block("sh")).await;
        if plan != block("text") {
            faults.push(format!("## {title}\n{plan}"));
        }
    }
    assert!(
        faults.is_empty(),
        "other plans than in docs/recipes.md:\n{}",
        faults.join("\n")
    );
}
