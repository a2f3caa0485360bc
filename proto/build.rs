//! Compiles `relay/v1/*.proto` without protoc: protox parses, prost and tonic generate.
//! Also writes the table that the strict scan of incoming bytes walks (`scan.rs`).

use std::{collections::BTreeMap, env, fmt::Write as _, fs, path::PathBuf};

use prost::Message as _;
use prost_types::{
    DescriptorProto, FieldDescriptorProto,
    field_descriptor_proto::{Label, Type},
};

const FILES: &[&str] = &[
    "envelope",
    "payload",
    "alert",
    "preservation",
    "casework",
    "assistance",
    "receipt",
    "directory",
    "link",
    "api",
];

fn main() {
    println!("cargo:rerun-if-changed=relay");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo sets OUT_DIR"));
    let files: Vec<String> = FILES.iter().map(|f| format!("relay/v1/{f}.proto")).collect();
    let set = match protox::compile(&files, ["."]) {
        Ok(set) => set,
        Err(error) => fail(&format!("{error:?}")),
    };
    fs::write(out.join("relay_v1.bin"), set.encode_to_vec()).expect("write the descriptor set");
    fs::write(out.join("schema.rs"), schema(&set.file)).expect("write the scan table");

    let mut config = prost_build::Config::new();
    config.bytes(["."]);
    let result = if env::var_os("CARGO_FEATURE_GRPC").is_some() {
        tonic_prost_build::configure().compile_fds_with_config(set, config)
    } else {
        config.compile_fds(set)
    };
    if let Err(error) = result {
        fail(&error.to_string());
    }
}

fn fail(message: &str) -> ! {
    eprintln!("{message}");
    std::process::exit(1);
}

/// One constant per message: its fields by ascending number, each with its wire form.
fn schema(files: &[prost_types::FileDescriptorProto]) -> String {
    let mut messages: BTreeMap<String, &DescriptorProto> = BTreeMap::new();
    for file in
        files.iter().filter(|f| f.package() == "relay.v1" && f.name() != "relay/v1/api.proto")
    {
        for message in &file.message_type {
            messages.insert(message.name().to_owned(), message);
        }
    }
    let mut text = String::new();
    for (name, message) in &messages {
        let mut fields: Vec<&FieldDescriptorProto> = message.field.iter().collect();
        fields.sort_by_key(|f| f.number());
        writeln!(
            text,
            "pub static {}: Schema = Schema {{ name: \"{name}\", fields: &[",
            screaming(name)
        )
        .expect("write to a string");
        for field in fields {
            let repeated = field.label() == Label::Repeated;
            let form = match field.r#type() {
                Type::Bool => "Form::Bool".to_owned(),
                Type::Uint32 => "Form::Uint32".to_owned(),
                Type::Uint64 => "Form::Uint64".to_owned(),
                Type::Enum => "Form::Enum".to_owned(),
                Type::String => "Form::Text".to_owned(),
                Type::Bytes => "Form::Bytes".to_owned(),
                Type::Message => format!(
                    "Form::Message(&{})",
                    screaming(field.type_name().rsplit('.').next().unwrap_or_default())
                ),
                other => {
                    fail(&format!("{name}.{}: {other:?} is not allowed on the wire", field.name()))
                }
            };
            writeln!(
                text,
                "    Field {{ number: {}, name: \"{}\", form: {form}, repeated: {repeated}, \
                 oneof: {} }},",
                field.number(),
                field.name(),
                field.oneof_index.is_some()
            )
            .expect("write to a string");
        }
        writeln!(text, "]}};").expect("write to a string");
    }
    text
}

fn screaming(name: &str) -> String {
    let mut out = String::new();
    for (i, c) in name.chars().enumerate() {
        if c.is_uppercase() && i > 0 {
            out.push('_');
        }
        out.push(c.to_ascii_uppercase());
    }
    out
}
