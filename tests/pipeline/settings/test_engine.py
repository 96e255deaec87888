import pytest

from pipeline.settings.engine import EngineConfig, bytes_of


@pytest.mark.parametrize(
    "master", ["local", "local[2]", "local[*]", "spark://node-1:7077", "yarn", "k8s://https://k:6443"]
)
def test_spark_has_a_master(master):
    assert EngineConfig(name="spark", master=master).master == master


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "spark"}, 'engine.name = "spark" needs the address of a cluster; set engine.master to one such as'),
        ({"master": "local[2]"}, r'engine.master = "local\[2\]" is the address of .*, and engine.name is "local"; set'),
        ({"name": "spark", "master": "node-1:7077"}, "String should match pattern"),
        ({"name": "spark", "master": "spark://"}, "String should match pattern"),
        ({"name": "flink"}, "Input should be 'local' or 'spark'"),
        ({"shards": 0}, "greater than or equal to 1"),
    ],
)
def test_what_no_engine_can_be(settings, message):
    with pytest.raises(ValueError, match=message):
        EngineConfig(**settings)


def test_sizes_are_decimal_unless_they_say_so():
    assert [bytes_of(size) for size in ("1KB", "1KiB", "0.5MB")] == [1000, 1024, 500_000]
