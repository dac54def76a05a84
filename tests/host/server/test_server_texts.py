"""Does the editor get the pack's languages and blueprints, and only what it can use of them?"""

import json

from server_client import running


def subgraph(*kinds):
    nodes = [{"id": i, "type": kind} for i, kind in enumerate(kinds)]
    definitions = {"subgraphs": [{"id": "whole", "nodes": nodes}]}
    return {"nodes": [{"id": 9, "type": "whole"}], "links": [], "definitions": definitions}


def write(path, data):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(data if isinstance(data, str) else json.dumps(data, ensure_ascii=False), encoding="utf-8")


async def test_languages_are_gathered_as_comfyui_does(server, tmp_path):
    pack = tmp_path / "pack"
    write(pack / "locales" / "zh" / "main.json", {"nodeCategories": {"imagen": "图像"}})
    write(pack / "locales" / "zh" / "nodeDefs.json", {"Number": {"display_name": "数"}})
    write(pack / "locales" / "fr" / "nodeDefs.json", {"Number": {"display_name": "nombre"}})
    write(pack / "locales" / "fr" / "settings.json", "{")
    async with running({**server, "pack": pack}) as site:
        assert await site.get("/api/i18n") == {
            "fr": {"nodeDefs": {"Number": {"display_name": "nombre"}}},
            "zh": {"nodeCategories": {"imagen": "图像"}, "nodeDefs": {"Number": {"display_name": "数"}}},
        }


async def test_blueprints_that_this_host_can_run_are_listed_and_read(server, tmp_path):
    pack = tmp_path / "pack"
    write(pack / "subgraphs" / "Draw it.json", subgraph("Number"))
    write(pack / "subgraphs" / "Not here.json", subgraph("Number", "KSampler"))
    async with running({**server, "pack": pack}) as site:
        listed = await site.get("/api/global_subgraphs")
        ((key, entry),) = listed.items()
        assert entry == {"source": "custom_node", "name": "Draw it", "info": {"node_pack": "custom_nodes.pack"}}
        assert await site.get("/global_subgraphs") == listed, "the id stays the same"
        read = await site.get(f"/api/global_subgraphs/{key}")
        assert json.loads(read.pop("data")) == subgraph("Number") and read == entry
        assert "error" in await site.get("/api/global_subgraphs/other", status=404)
