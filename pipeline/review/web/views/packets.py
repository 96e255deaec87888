"""Packets by the browser: alerts to take along in one file, and the file of decisions that comes back."""

from urllib.parse import parse_qsl

from fastapi import APIRouter, Request, Response
from starlette.datastructures import UploadFile

from pipeline.review.packets import DAYS, MOST, Arrival, Packet
from pipeline.review.refusals import Refusal
from pipeline.review.web.access import desk, person
from pipeline.review.web.addresses import address_of, read_view
from pipeline.review.web.packet import packet_page
from pipeline.review.web.pages import page

router = APIRouter()


@router.get("/packets")
def packets(request: Request) -> Response:
    """Show what a packet of the view in the address would be, and where its decisions are brought back."""
    return _show(request, request.url.query)


@router.post("/packets")
def take_along(request: Request) -> Response:
    """Return the open alerts of a view as a file that is worked without the desk."""
    form, here, who = request.state.form, desk(request), person(request)
    pages: list[str] = []

    def leave(packet: Packet) -> None:
        pages.append(packet_page(packet, here.config.review))

    view = read_view(dict(parse_qsl(str(form.get("query", ""))[:4_000])))
    packet = here.make_packet(view, str(form.get("user") or who.name), who, leave)
    headers = {"content-disposition": f'attachment; filename="packet-{packet.id}.html"'}
    return Response(pages[0], media_type="text/html; charset=utf-8", headers=headers)


@router.post("/packets/decisions")
def bring_back(request: Request) -> Response:
    """Take in the file of decisions that a packet's page gave."""
    file = request.state.form.get("file")
    if not isinstance(file, UploadFile) or not file.filename:
        raise Refusal("no file of decisions was chosen; choose the one that the packet's page has saved")
    try:
        text = file.file.read().decode()
    except UnicodeDecodeError:
        raise Refusal("this is no file of decisions as a packet's page gives it; save it from the page again") from None
    return _show(request, "", desk(request).take_packet(text, person(request)))


def _show(request: Request, query: str, arrival: Arrival | None = None) -> Response:
    here, who = desk(request), person(request)
    view = read_view(dict(parse_qsl(query[:4_000])))
    return page(
        request,
        "packets.html",
        title="Packets",
        query=query,
        queue=address_of(view),
        people=here.colleagues(who) if who.may("people") else [],
        arrival=arrival,
        days=DAYS,
        most=MOST,
    )
